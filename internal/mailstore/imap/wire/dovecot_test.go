package wire

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"salvor/internal/testenv/dovecot"
)

func TestDovecot(t *testing.T) {
	s := dovecot.Start(t, dovecot.Options{})
	seed := s.Login("alice")
	seed.Append("INBOX", "Subject: x\r\n\r\nbody\r\n", time.Unix(1e9, 0), `\Seen`, "work")
	seed.Append("INBOX", "Subject: y\r\n\r\n"+strings.Repeat("z", 2<<20), time.Time{})
	seed.Create("Entw&APw-rfe")
	ctx := t.Context()
	c, err := Dial(ctx, Options{Addr: fmt.Sprintf("127.0.0.1:%d", s.Port), Security: Insecure})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Login(ctx, Credentials{User: "alice", Secret: dovecot.Password}); err != nil {
		t.Fatal(err)
	}
	if err := c.Enable(ctx, "CONDSTORE"); err != nil || !c.Caps().Has("CONDSTORE") {
		t.Errorf("ENABLE: %v, %v", err, c.Caps())
	}
	n, err := c.Namespaces(ctx)
	if err != nil || len(n.Personal) != 1 || n.Personal[0] != (Namespace{"", "/"}) {
		t.Errorf("namespaces %+v, %v", n, err)
	}
	odd := `a"b\c` + "\x01"
	if _, err := c.Do(ctx, NewCommand("CREATE").String(`a"b\c`)); err != nil {
		t.Errorf("CREATE: %v", err)
	}
	if _, err := c.Do(ctx, NewCommand("CREATE").String(odd)); err == nil {
		t.Error("a control character was taken")
	}
	var names []string
	if err := c.List(ctx, "", "*", func(l Listed) error { names = append(names, l.Name); return nil }); err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	if fmt.Sprint(names) != `[Entw&APw-rfe INBOX a"b\c]` {
		t.Errorf("names %q", names)
	}
	err = c.Statuses(ctx, append(names, "missing"), "MESSAGES UIDNEXT UIDVALIDITY HIGHESTMODSEQ X-GUID", func(st Status) error {
		if (st.Err != nil) != (st.Mailbox == "missing") || st.Err == nil && len(st.Items["X-GUID"].Text()) != 32 {
			t.Errorf("status %+v", st)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	box, err := c.Examine(ctx, "INBOX")
	if err != nil || box.Messages != 2 || box.UIDNext != 3 || box.UIDValidity == 0 || box.HighestModSeq == 0 || !box.ReadOnly {
		t.Errorf("examine %+v, %v", box, err)
	}
	if set, err := c.Search(ctx, "ALL"); err != nil || set.String() != "1:2" {
		t.Errorf("search %q, %v", set, err)
	}
	var got []*Fetched
	p, err := c.Fetch(ctx, FetchQuery{UIDs: "1:2", Items: "UID FLAGS INTERNALDATE MODSEQ X-GUID BODY.PEEK[]", MaxLiteral: 4 << 20,
		Yield: func(f *Fetched) error { got = append(got, f); return nil }})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Wait(ctx); err != nil || len(got) != 2 {
		t.Fatalf("%d messages, %v", len(got), err)
	}
	flags, _ := got[0].Flags()
	date, err := got[0].InternalDate()
	if fmt.Sprint(flags) != `[\Seen work]` || !date.Equal(time.Unix(1e9, 0)) || err != nil || got[0].Items["BODY[]"].Text() != "Subject: x\r\n\r\nbody\r\n" || got[0].ModSeq() == 0 {
		t.Errorf("first %+v, %v", got[0], err)
	}
	if b := got[1].Items["BODY[]"].Bytes; len(b) != 2<<20+len("Subject: y\r\n\r\n") {
		t.Errorf("second: %d bytes", len(b))
	}
	if err := c.Logout(ctx); err != nil {
		t.Error(err)
	}
}
