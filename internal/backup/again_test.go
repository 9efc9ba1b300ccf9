package backup_test

import (
	"fmt"
	"strings"
	"testing"

	"salvor/catalog"
	"salvor/internal/mailstore"
)

// A message that moves behind the back of the listing, from a folder that comes
// later into one that came before, is in the backup of the same night; also the
// very first one.
func TestMovedWhileListed(t *testing.T) {
	for _, first := range []bool{true, false} {
		w, s := serve(t)
		s.boxes["INBOX"] = []*letter{message(1, bodyA)}
		s.boxes["Work"] = []*letter{message(1, "Subject: w\r\n\r\nstays\r\n")}
		if !first {
			w.Backup()
		}
		moving := message(2, bodyB)
		s.boxes["Work"] = append(s.boxes["Work"], moving)
		s.listed = func(name string) {
			if name != "INBOX" || moving == nil {
				return
			}
			s.boxes["Work"] = s.boxes["Work"][:1]
			s.boxes["INBOX"] = append(s.boxes["INBOX"], message(7, bodyB))
			moving = nil
		}
		if !first {
			s.boxes["INBOX"][0].Flags = []string{`\Seen`} // so that it is listed
		}
		r := w.Night()
		if !r.Clean() || len(w.List(catalog.Query{Subject: "b"})) != 1 {
			t.Errorf("first %v: %+v", first, r)
		}
		if got := w.List(catalog.Query{}); len(got) != 3 || got[1].UID != 7 {
			t.Errorf("first %v: %d messages", first, len(got))
		}
		if r := w.Night(); !r.Clean() || r.Messages.New != 0 || r.Messages.Gone != 0 {
			t.Errorf("first %v: the next night: %+v", first, r)
		}
	}
}

// A new folder that appears while its user is read, and one that changes after
// it was found unchanged, are read too.
func TestFoldersThatChangeWhileListed(t *testing.T) {
	w, s := serve(t)
	s.boxes["INBOX"] = []*letter{message(1, bodyA)}
	s.boxes["Work"] = []*letter{message(1, bodyB)}
	w.Backup()
	s.boxes["INBOX"] = append(s.boxes["INBOX"], message(2, "Subject: new\r\n\r\n"))
	once := true
	s.listed = func(string) {
		if once {
			once = false
			s.more = []string{"Made"}
			s.boxes["Made"] = []*letter{message(1, "Subject: made\r\n\r\n")}
			s.boxes["Work"] = append(s.boxes["Work"], message(2, "Subject: late\r\n\r\n"))
		}
	}
	if r := w.Night(); !r.Clean() || r.Messages.New != 3 {
		t.Errorf("%+v", r)
	}
	if r := w.Night(); !r.Clean() || r.Messages.New != 0 || r.Messages.Gone != 0 || r.Mailboxes != 3 {
		t.Errorf("%+v", r)
	}
}

// What no user did does not start the week of anything: a file that has other
// bytes under its old name, an index that is an older one, and one that has
// forgotten messages which it would have named as removed.
func TestDoubtfulLosses(t *testing.T) {
	for name, harm := range map[string]func(*server){
		"has other bytes": func(s *server) {
			l := s.boxes["INBOX"][0]
			l.SHA1, l.State = [20]byte{}, "changed"
			l.body = []byte(strings.ToUpper(string(l.body)))
			s.boxes["INBOX"][1].Flags = []string{`\Seen`} // so that the folder is listed
		},
		"went back from 7 to 6": func(s *server) {
			s.modSeq = 6
			s.boxes["INBOX"] = s.boxes["INBOX"][1:]
		},
		"anybody removed": func(s *server) {
			s.tells = true
			s.boxes["INBOX"] = s.boxes["INBOX"][1:]
		},
	} {
		w, s := serve(t)
		for i := range 20 {
			s.boxes["INBOX"] = append(s.boxes["INBOX"], message(mailstore.UID(i+1), fmt.Sprintf("Subject: %d\r\n\r\nbody\r\n", i)))
		}
		w.Backup()
		harm(s)
		if r := w.Night(); len(r.HeldByBrake) != 1 || !strings.Contains(r.HeldByBrake[0].Reason, name) || r.HeldByBrake[0].Messages != 1 {
			t.Errorf("%s: %+v", name, r.HeldByBrake)
		}
		for range 9 {
			w.Night()
		}
		if p := w.Prune(); p.Expired != 0 {
			t.Errorf("%s: %+v", name, p)
		}
	}
	// What the index names as removed starts its week.
	w, s := serve(t)
	s.tells = true
	for i := range 20 {
		s.boxes["INBOX"] = append(s.boxes["INBOX"], message(mailstore.UID(i+1), fmt.Sprintf("Subject: %d\r\n\r\nbody\r\n", i)))
	}
	w.Backup()
	s.boxes["INBOX"][3].Expunged = w.Now
	if r := w.Night(); !r.Clean() || r.Messages.Gone != 1 {
		t.Errorf("%+v", r)
	}
}
