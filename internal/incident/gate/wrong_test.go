package gate_test

import (
	"strings"
	"testing"

	"salvor/catalog"
	"salvor/internal/incident/gate"
	"salvor/internal/testenv/lostserver"
)

// Another server with users of the same names opens nobody's gate.
func TestAnotherServer(t *testing.T) {
	d := scene(t)
	d.Fill()
	d.Put(func(c *catalog.Claim) bool { // what filling notes
		c.NowFolder, c.NowValidity, c.NowUID = c.Folder, c.UIDValidity, c.UID
		return c.State == catalog.ClaimRestored
	})
	other := lostserver.New(t)
	for _, user := range []string{"ann", "bob"} {
		other.Server.Box(user, "INBOX").Add(lostserver.Text(900))
		other.Server.Box(user, "INBOX").UIDValidity = 99
	}
	rows := update(t, d, gate.Options{Server: other.Server, Store: "imap://other"})
	wants(t, rows, "ann web 0 !", "bob web 0 !")
	if p := rows[0].Problem; !strings.Contains(p.Error(), "is this the right server?") {
		t.Error(p)
	}
	wants(t, update(t, d, gate.Options{Server: d.Server, Store: lostserver.URL}), "ann web 1", "bob imap 0")
}
