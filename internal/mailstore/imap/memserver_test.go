package imap

import (
	"net"
	"slices"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-imap/v2/imapserver/imapmemserver"

	"salvor/internal/testenv/imaptest"
)

// TestThirdServer reads from a server that is neither Dovecot nor Cyrus, was
// written by others, and knows no modification sequences.
func TestThirdServer(t *testing.T) {
	t.Parallel()
	memory := imapmemserver.New()
	alice := imapmemserver.NewUser("alice", "secret")
	memory.AddUser(alice)
	for _, name := range []string{"INBOX", "Entwürfe", "Work/2024"} {
		if err := alice.Create(name, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := alice.Subscribe("Work/2024"); err != nil {
		t.Fatal(err)
	}
	server := imapserver.New(&imapserver.Options{
		NewSession: func(*imapserver.Conn) (imapserver.Session, *imapserver.GreetingData, error) {
			return memory.NewSession(), nil, nil
		},
		Caps:         imap.CapSet{imap.CapIMAP4rev1: {}, imap.CapIMAP4rev2: {}},
		InsecureAuth: true,
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	c := imaptest.Dial(t, l.Addr().String(), nil).Login("alice", "secret")
	folders := []string{"INBOX", "Entw&APw-rfe", "Work/2024"}
	for i, f := range folders {
		for n := range 30 * (i + 1) {
			c.Append(f, letter(n), when, `\Seen`, "work")
		}
	}
	got := pass(t, open(t, l.Addr().(*net.TCPAddr).Port, Options{User: "alice"}), "alice", nil)
	got.clean(t)
	if want := []string{"INBOX", "Entwürfe", "Work/2024"}; !slices.Equal(got.names(), want) || !got.box("Work/2024").Subscribed || got.box("INBOX").State != "" {
		t.Errorf("folders %q, want %q; %+v", got.names(), want, got.boxes)
	}
	for i, name := range got.names() {
		compare(t, got, name, c.Examine(folders[i]))
	}
}
