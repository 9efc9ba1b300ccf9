package stores

import (
	"errors"
	"io"
	"testing"

	"salvor/internal/mailstore"
	"salvor/internal/testenv/conformance"
	"salvor/internal/testenv/cyrus"
	"salvor/internal/testenv/dovecot"
)

// A running server is opened by the URL of a destination, with its folders and
// messages as the user sees them.
func TestOpenServer(t *testing.T) {
	t.Parallel()
	d := dovecot.Start(t, dovecot.Options{Masters: []string{"backup"}, Config: conformance.SpecialUse})
	c := cyrus.Start(t, cyrus.Options{})
	c.AddUser("alice")
	conformance.Seed(d.Login("alice"))
	conformance.Seed(c.Login("alice"))
	for _, url := range []string{"imap://backup@" + d.Addr(), "imap://admin@" + c.Addr()} {
		s, err := OpenServer(url, Options{Password: password("secret")})
		if err != nil {
			t.Fatal(err)
		}
		l, err := s.Live(t.Context(), "alice")
		if err != nil {
			t.Fatal(err)
		}
		boxes, messages := 0, 0
		err = l.Mailboxes(t.Context(), func(m mailstore.Mailbox) error {
			boxes++
			st, err := l.Inspect(t.Context(), m.Name, func(i mailstore.Inspected) error {
				messages++
				body, err := l.Body(t.Context(), m.Name, i.UID)
				if i.Dangling || int64(len(body)) != i.Size {
					t.Errorf("%s: %+v, a body of %d bytes", m.Name, i, len(body))
				}
				return err
			})
			if st.UIDValidity != m.UIDValidity || st.UIDNext != mailstore.UID(m.UIDNext) {
				t.Errorf("%+v is inspected as %+v", m, st)
			}
			return err
		})
		if err := errors.Join(err, l.Close(t.Context()), s.(io.Closer).Close()); err != nil || boxes < 3 || messages < 3 {
			t.Errorf("%d folders, %d messages, %v", boxes, messages, err)
		}
	}
}

// What the tests of whole commands compare is the same on both servers.
func TestSeed(t *testing.T) {
	d := dovecot.Start(t, dovecot.Options{Config: conformance.SpecialUse})
	c := cyrus.Start(t, cyrus.Options{})
	c.AddUser("alice")
	onDovecot, onCyrus := d.Login("alice"), c.Login("alice")
	conformance.Seed(onDovecot)
	conformance.Seed(onCyrus)
	view := conformance.View{Subscriptions: true, SpecialUse: true}
	if diff := conformance.Diff(conformance.Account(onDovecot, view), conformance.Account(onCyrus, view)); diff != "" {
		t.Error(diff)
	}
}
