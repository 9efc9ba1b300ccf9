package imap

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"salvor/internal/mailstore"
	"salvor/internal/mailstore/imap/wire"
)

// A session is what is open for one user: a connection that lists, and one that
// fetches bodies while the other still lists.
type session struct {
	s    *Source
	user string

	users   int  // who works with it; under the source's mu
	retired bool // to be closed by the last of them; under the source's mu

	mu      sync.Mutex // held by whoever lists
	lister  *link
	names   atomic.Pointer[names]
	fetcher *fetcher
}

// openSessions is for how many users connections are kept: workers may still
// read the last users' messages when the next one is listed.
const openSessions = 4

// use gives the user's session, until done is called.
func (s *Source) use(user string) (one *session, done func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.sessions, func(o *session) bool { return o.user == user })
	if i >= 0 {
		one = s.sessions[i]
		s.sessions = slices.Delete(s.sessions, i, i+1)
	} else {
		one = &session{s: s, user: user, lister: &link{s: s, user: user}}
		one.fetcher = &fetcher{s: s, one: one, link: link{s: s, user: user}}
	}
	s.sessions = append(s.sessions, one)
	one.users++
	s.retire()
	return one, func() { s.letGo(one) }
}

// hold keeps a session open.
func (s *Source) hold(one *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	one.users++
}

// letGo undoes a hold.
func (s *Source) letGo(one *session) {
	s.mu.Lock()
	one.users--
	last := one.users == 0 && one.retired
	s.mu.Unlock()
	if last {
		one.close()
	}
}

// retire closes what was not used for longest, and by nobody now.
func (s *Source) retire() {
	for i := 0; len(s.sessions) > openSessions && i < len(s.sessions); {
		one := s.sessions[i]
		if one.users > 0 {
			i++
			continue
		}
		s.sessions = slices.Delete(s.sessions, i, i+1)
		one.retired = true
		s.working.Add(1)
		go func() { // a good-bye takes a moment
			defer s.working.Done()
			one.close()
		}()
	}
}

func (one *session) close() {
	one.mu.Lock()
	defer one.mu.Unlock()
	one.lister.close()
	one.fetcher.mu.Lock()
	defer one.fetcher.mu.Unlock()
	one.fetcher.link.close()
}

// with calls f with the user's session, alone among those who list.
func (s *Source) with(user string, f func(*session) error) error {
	one, done := s.use(user)
	defer done()
	one.mu.Lock()
	defer one.mu.Unlock()
	return f(one)
}

// nameTable gives the user's names, which the server is asked for once.
func (one *session) nameTable(ctx context.Context, c *wire.Conn) (*names, error) {
	if n := one.names.Load(); n != nil {
		return n, nil
	}
	n, err := askNames(ctx, c)
	if err == nil {
		one.names.Store(n)
	}
	return n, err
}

func askNames(ctx context.Context, c *wire.Conn) (*names, error) {
	spaces, err := c.Namespaces(ctx)
	if err != nil {
		return nil, err
	}
	separator := ""
	if len(spaces.Personal) == 0 {
		separator, err = c.Separator(ctx)
	}
	n := namesOf(spaces, separator)
	return &n, err
}

// keyOf names a message by UIDVALIDITY and UID.
func keyOf(validity, uid uint32) string {
	return strconv.FormatUint(uint64(validity), 10) + "." + strconv.FormatUint(uint64(uid), 10)
}

// splitKey is the inverse of keyOf.
func splitKey(key string) (validity, uid uint32, err error) {
	v, u, ok := strings.Cut(key, ".")
	a, errA := strconv.ParseUint(v, 10, 32)
	b, errB := strconv.ParseUint(u, 10, 32)
	if !ok || errA != nil || errB != nil || b == 0 {
		return 0, 0, fmt.Errorf("%q names no message of an IMAP server", key)
	}
	return uint32(a), uint32(b), nil
}

// A token is a mailbox's State.
type token struct {
	validity    uint32
	modSeq      uint64
	next, count uint32
}

func (t token) String() string {
	return fmt.Sprintf("%d.%d.%d.%d", t.validity, t.modSeq, t.next, t.count)
}

// parseToken reads a State; ok is false for what is none.
func parseToken(text string) (t token, ok bool) {
	n, err := fmt.Sscanf(text, "%d.%d.%d.%d", &t.validity, &t.modSeq, &t.next, &t.count)
	return t, err == nil && n == 4 && t.String() == text && t.modSeq > 0
}

// Count counts the messages of a mailbox.
func (s *Source) Count(ctx context.Context, box mailstore.Mailbox) (n int, err error) {
	if t, ok := parseToken(box.State); ok {
		return int(t.count), nil
	}
	err = s.with(box.User, func(one *session) error {
		return one.lister.do(ctx, func(c *wire.Conn) error {
			table, err := one.nameTable(ctx, c)
			if err != nil {
				return err
			}
			return c.Statuses(ctx, []string{table.onWire(box.Name)}, "MESSAGES", func(st wire.Status) error {
				n = int(st.Uint("MESSAGES"))
				return st.Err
			})
		})
	})
	if err != nil {
		return 0, problem(ctx, box.User, box.Name, err)
	}
	return n, nil
}
