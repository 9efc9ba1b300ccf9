package retention

import (
	"fmt"
	"sort"
)

// Limits are the brake's thresholds. The zero value means the defaults.
type Limits struct {
	UserPercent      float64 // 30: of one user's mail ...
	UserMessages     int     // 50: ... and more than this many messages
	PartitionPercent float64 // 2: of a partition's mail, spread over many users
}

func (l Limits) withDefaults() Limits {
	if l.UserPercent == 0 {
		l.UserPercent = 30
	}
	if l.UserMessages == 0 {
		l.UserMessages = 50
	}
	if l.PartitionPercent == 0 {
		l.PartitionPercent = 2
	}
	return l
}

// Loss is what one user has lost, as the brake counts it: without Trash,
// without messages that only moved, without what an operator confirmed.
type Loss struct {
	User, Partition string
	Live            int // messages still there
	Now             int // gone in this run
	Window          int // gone within the time deleted mail is kept, this run included, folders removed earlier left out
	// UserGone: the whole account is not listed any more.
	UserGone bool
	// Suspect says why a mailbox's index cannot be taken as evidence ("" when
	// it can): a UIDVALIDITY reset, a lost index.
	Suspect string
	// Removed holds, for each folder tree that its user removed in this run,
	// how many messages it held; they count in Now and Window too.
	Removed []int
}

// oneFolder tells whether the user removed a single folder tree and kept other
// mail: ordinary life.
func (l Loss) oneFolder() bool { return len(l.Removed) == 1 && l.Live > 0 }

// Verdict is the brake's decision to hold one user's deletions.
type Verdict struct {
	User   string
	Reason string
	// Window: what vanished in the earlier nights of the window is held too.
	Window bool
}

// Brake says whose deletions must not start their week before an operator has
// confirmed them. partitions gives the messages that each partition held
// before this run (live ones and those gone within the window), Trash left out.
func Brake(l Limits, losses []Loss, partitions map[string]Partition) []Verdict {
	l = l.withDefaults()
	held := map[string]Verdict{}
	for _, loss := range losses {
		if v, ok := l.user(loss); ok {
			held[loss.User] = v
		}
	}
	for name, p := range partitions {
		l.partition(name, p, losses, held)
	}
	out := make([]Verdict, 0, len(held))
	for _, v := range held {
		out = append(out, v)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].User < out[j].User })
	return out
}

// Partition is the size of one partition before the run.
type Partition struct {
	Messages int
	Users    int
}

func (l Limits) user(loss Loss) (Verdict, bool) {
	v := Verdict{User: loss.User}
	now, window := loss.Now, loss.Window
	switch {
	case loss.UserGone:
		v.Reason, v.Window = "the whole user is gone from the source", true
		return v, true
	case loss.Now == 0:
		return v, false
	case loss.Suspect != "":
		v.Reason = fmt.Sprintf("%d messages vanished and %s", loss.Now, loss.Suspect)
		return v, true
	}
	if loss.oneFolder() {
		now, window = now-loss.Removed[0], window-loss.Removed[0]
	}
	before := loss.Live + loss.Window
	if exceeds(now, loss.Live+loss.Now, l) {
		v.Reason = fmt.Sprintf("%d of %d messages vanished in one run", now, loss.Live+loss.Now)
		return v, true
	}
	if exceeds(window, before, l) {
		v.Reason, v.Window = fmt.Sprintf("%d of %d messages vanished within the time deleted mail is kept", window, before), true
		return v, true
	}
	return v, false
}

func exceeds(gone, of int, l Limits) bool {
	return gone > l.UserMessages && float64(gone)*100 > l.UserPercent*float64(of)
}

// partition holds every user who lost mail in this run when a partition as a
// whole lost more than people do. What single users were already held for
// counts too: a dying disk takes much from some and little from others.
func (l Limits) partition(name string, p Partition, losses []Loss, held map[string]Verdict) {
	now, window, users := spread(name, p, losses)
	part := func(n int) bool {
		return n > l.UserMessages && float64(n)*100 > l.PartitionPercent*float64(p.Messages)
	}
	if !many(users, p.Users) || !(part(now) || part(window)) {
		return
	}
	for _, loss := range losses {
		if _, is := held[loss.User]; is || loss.Partition != name || loss.Window == 0 {
			continue
		}
		held[loss.User] = Verdict{User: loss.User, Window: !part(now),
			Reason: fmt.Sprintf("%d of %d messages of partition %q vanished, of %d users", max(now, window), p.Messages, name, users)}
	}
}

// spread adds up a partition's losses and counts the users who have any. A
// removed folder counts only when many users removed one in the same run.
func spread(name string, p Partition, losses []Loss) (now, window, users int) {
	removers := 0
	for _, loss := range losses {
		if loss.Partition == name && len(loss.Removed) > 0 {
			removers++
		}
	}
	for _, loss := range losses {
		if loss.Partition != name {
			continue
		}
		n, w := loss.Now, loss.Window
		if loss.oneFolder() && !many(removers, p.Users) {
			n, w = n-loss.Removed[0], w-loss.Removed[0]
		}
		if w > 0 {
			users++
		}
		now, window = now+n, window+w
	}
	return now, window, users
}

// many tells whether so many of all users do not just happen to do the same.
func many(users, all int) bool { return users >= 3 && (users >= 10 || 2*users >= all) }
