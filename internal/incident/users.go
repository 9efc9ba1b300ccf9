package incident

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"salvor/catalog"
)

// ErrUser: nobody of this name is in the incident's ledger.
var ErrUser = errors.New("nobody of this name is in the incident's ledger")

// Users gives the users of an incident's ledger, sorted: those that are asked
// about, or all. ErrUser where one of those asked about is none.
func Users(ctx context.Context, c *catalog.Catalog, name string, asked []string) ([]string, error) {
	var users []string
	err := c.ClaimUsers(ctx, name, func(u catalog.UserClaims) error {
		users = append(users, u.User)
		return nil
	})
	if err != nil || len(asked) == 0 {
		return users, err
	}
	for _, user := range asked {
		if _, found := slices.BinarySearch(users, user); !found {
			return nil, fmt.Errorf("%q: %w", user, ErrUser)
		}
	}
	asked = slices.Clone(asked)
	slices.Sort(asked)
	return slices.Compact(asked), nil
}
