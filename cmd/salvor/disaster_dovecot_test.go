package main

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"salvor/internal/testenv/dovecot"
)

// TestDisasterOnDovecot is the same story on a Dovecot whose CONTROL and INDEX lie
// apart from its Maildirs. Dovecot forgets what it does not find, so its folders
// are filled before it is started, and there is nothing to be taken out.
func TestDisasterOnDovecot(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 5))
	w := newWorld(t).withPassword()
	s := dovecot.Start(t, dovecot.Options{Masters: []string{"backup"}, Location: "maildir:~/Maildir:CONTROL=@DIR@/meta/control/%u:INDEX=@DIR@/meta/index/%u"})
	must(t, os.Mkdir(filepath.Join(s.Dir, "meta"), 0o755))
	s.Chown("meta")
	source := fmt.Sprintf("maildir:%s/home/%%u/Maildir:CONTROL=%[1]s/meta/control/%%u:INDEX=%[1]s/meta/index/%%u", s.Dir)
	at := time.Date(2006, 10, 26, 18, 30, 0, 0, time.UTC)
	var lives []*life
	for i := range 20 {
		l := newLife(i, seed)
		lives = append(lives, l)
		c := s.Login(l.user)
		l.evening(c, at)
		c.Close()
	}
	w.run("init", "--quiet")
	w.run("backup", "--quiet", source)
	for _, l := range lives {
		c := s.Login(l.user)
		l.backup(c)
		c.Close()
	}
	time.Sleep(time.Second)
	aside := w.path("aside")
	must(t, os.Mkdir(aside, 0o700))
	for i, l := range lives {
		c := s.Login(l.user)
		l.night(c, at)
		c.Close()
		l.keepFiles(t, aside, s.Home(l.user)+"/Maildir", i)
	}
	s.Stop()
	gap := 0
	for _, l := range lives {
		gap += len(l.gap())
		must(t, os.RemoveAll(s.Home(l.user)+"/Maildir"))
	}

	w.openKilled(rng, source)
	opened := w.totalsOf("fire")
	if opened["owed"] != float64(gap) || opened["uncertain"] != 0 {
		t.Errorf("opened: %v, want %d owed", opened, gap)
	}
	w.until(rng, 3, []int{0}, "incident", "fill", "fire", "--to", source)
	filled := w.totalsOf("fire")
	if filled["restored"]+filled["present"] != opened["held"] || filled["held"] != 0 {
		t.Errorf("filled: %v, of %v", filled, opened)
	}
	s.Chown("home")
	s.Restart()
	server := "imap://backup@" + s.Addr()
	if got := w.gatesOf("fire", "--to", server, "--json"); got["imap"] != 20 {
		t.Errorf("after the filling: %v", got)
	}
	for _, l := range lives {
		l.online.sameAsFresh(t, l.user, s.Login(l.user))
	}

	w.redeliverKept(rng, lives, opened, aside, server, s.Login, "--accept", "probable")
	closeIncident(t, w)
}

// keepFiles writes most of the night's message files aside as salvage brings them
// back: some under their names, some with their dates only.
func (l *life) keepFiles(t *testing.T, aside, dir string, n int) {
	t.Helper()
	gap := map[string]bool{}
	for _, m := range l.gap() {
		gap[m.body] = true
	}
	count := 0
	must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || filepath.Base(filepath.Dir(path)) != "cur" {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		body := strings.ReplaceAll(string(text), "\n", "\r\n")
		name := filepath.Base(path)
		if gap[body] {
			if count++; count%4 == 0 {
				return nil // gone for good
			}
			l.kept[body] = true
			if count%4 == 1 {
				name = fmt.Sprintf("f%04d-%03d", n, count)
			}
		} else if !l.removed[body] && count%5 != 0 {
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		to := filepath.Join(aside, name)
		if err := os.WriteFile(to, text, 0o600); err != nil {
			return err
		}
		return os.Chtimes(to, info.ModTime(), info.ModTime())
	}))
}
