package restore

import (
	"context"
	"slices"
	"strings"
	"time"

	"salvor/catalog"
)

// A Plan is whom All restores, in which order, and how much that is.
type Plan struct {
	Users  []string
	Extent Extent // of those that the catalog knows
}

// PlanOptions say in which order users come.
type PlanOptions struct {
	// Users are those to be restored, in their order; none: all of the catalog, by
	// how soon they will miss their mail.
	Users []string
	// Priority are users that come before all others, in this order, where they
	// are to be restored at all.
	Priority []string
}

// recent is how long before the catalog's newest message somebody must have got
// mail to count as active.
const recent = 14 * 24 * time.Hour

// MakePlan measures the users and puts them in order: first those of Priority,
// then those who are active (they got mail within two weeks before the newest
// message of all), then the others; of each group those with fewest bytes first,
// so that as many people as possible have their mail soon. A given order of Users
// stays, but for Priority. Names that come twice count once. It keeps some dozens
// of bytes for each user.
func MakePlan(ctx context.Context, c *catalog.Catalog, o PlanOptions) (*Plan, error) {
	loads := map[string]*catalog.Load{}
	var known []*catalog.Load
	err := c.Loads(ctx, "", func(l *catalog.Load) error {
		loads[l.User] = l
		known = append(known, l)
		return nil
	})
	if err != nil {
		return nil, err
	}
	users := o.Users
	if len(users) == 0 {
		users = bySoonest(known)
	}
	p := &Plan{Users: first(o.Priority, users)}
	for _, name := range p.Users {
		if l := loads[name]; l != nil {
			p.Extent.Messages += l.Messages
			p.Extent.Bytes += l.Bytes
		}
	}
	return p, nil
}

// bySoonest orders by activity, size and name.
func bySoonest(all []*catalog.Load) (users []string) {
	var newest time.Time
	for _, l := range all {
		if l.Newest.After(newest) {
			newest = l.Newest
		}
	}
	active := func(l *catalog.Load) bool { return l.Newest.After(newest.Add(-recent)) }
	slices.SortFunc(all, func(a, b *catalog.Load) int {
		if x, y := active(a), active(b); x != y {
			if x {
				return -1
			}
			return 1
		}
		if a.Bytes != b.Bytes {
			if a.Bytes < b.Bytes {
				return -1
			}
			return 1
		}
		return strings.Compare(a.User, b.User)
	})
	for _, l := range all {
		users = append(users, l.User)
	}
	return users
}

// first gives the users once each, those of the list before the others.
func first(list, users []string) []string {
	wanted := map[string]bool{}
	for _, u := range users {
		wanted[u] = true
	}
	var ordered []string
	for _, u := range slices.Concat(list, users) {
		if wanted[u] {
			ordered = append(ordered, u)
			delete(wanted, u)
		}
	}
	return ordered
}
