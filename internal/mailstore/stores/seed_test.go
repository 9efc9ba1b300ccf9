package stores

import (
	"testing"

	"salvor/internal/testenv/conformance"
	"salvor/internal/testenv/cyrus"
	"salvor/internal/testenv/dovecot"
)

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
