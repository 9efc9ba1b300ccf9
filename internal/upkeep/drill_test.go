package upkeep_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"salvor/catalog"
	"salvor/internal/history"
	"salvor/internal/mailstore"
	"salvor/internal/mailstore/stores"
	"salvor/internal/testenv/world"
	"salvor/internal/upkeep"
	"salvor/internal/vault"
	"salvor/restore"
)

// drillOptions restore into a fresh Maildir for each user; damage, when not nil,
// is done to it before it is read back.
func drillOptions(w *world.World, damage func(dir string)) upkeep.DrillOptions {
	w.T.Helper()
	dir := filepath.Join(w.T.TempDir(), "scratch")
	url := "maildir:" + dir + "/%u"
	return upkeep.DrillOptions{Store: "scratch", Host: "host", Now: func() time.Time { return w.Now },
		Open: func([]string) (mailstore.Source, error) { return stores.OpenSource(url, stores.Options{}) },
		Restore: func(ctx context.Context, users []string, each func(upkeep.Drilled)) error {
			reader, err := w.H.Vault.NewReader(w.H.Keys, vault.ReaderOptions{})
			must(w.T, err)
			to, err := stores.OpenDestination(url, stores.Options{})
			must(w.T, err)
			o := restore.Options{Catalog: w.H.Catalog, Chunks: w.H.Chunks(reader), Destination: to}
			err = restore.All(ctx, users, o, func(r *restore.Report, err error) {
				each(upkeep.Drilled{User: r.User, Messages: int64(r.Messages + r.Skipped), Bytes: r.Bytes, Err: err})
			})
			if damage != nil {
				damage(dir)
			}
			return err
		}}
}

// inhabited is a world with mail of many sorts.
func inhabited(t *testing.T) *world.World {
	t.Helper()
	w := world.New(t)
	for _, user := range []string{"ann", "bob", "carl", "dora", "emil"} {
		w.Fill(user, "INBOX", 4)
		w.Fill(user, "Work/Deep", 2)
		w.Fill(user, "Spam", 1)
	}
	twin := w.Message("twin")
	w.Deliver("ann", "INBOX", twin)
	w.Deliver("ann", "INBOX", twin)
	flagged := w.Deliver("ann", "INBOX", w.Message("flagged"))
	must(t, os.Rename(flagged, flagged+"FRS"))
	must(t, os.MkdirAll(filepath.Join(w.Mail, "ann", ".Empty", "cur"), 0o700))
	must(t, os.MkdirAll(filepath.Join(w.Mail, "nobody", "cur"), 0o700)) // has no mail
	w.Backup()
	return w
}

// A drill restores, compares, and leaves a record without names.
func TestDrill(t *testing.T) {
	w := inhabited(t)
	w.Sleep(5 * time.Hour)
	o := drillOptions(w, nil)
	o.Users = []string{"ann", "bob", "ann"}
	r, err := upkeep.Drill(t.Context(), w.H, o)
	must(t, err)
	if r.Users != 2 || r.Messages != 15 || r.Bytes == 0 || r.Failed != 0 || len(r.Differences) != 0 || len(r.Problems) != 0 || r.Seconds <= 0 {
		t.Errorf("%+v", r)
	}
	if *r.DataAge != 5*3600 || r.Whole == nil || r.Whole.From <= 0 || r.Whole.To < r.Whole.From || r.Whole.To > 10*r.Seconds {
		t.Errorf("%+v", r)
	}
	again := w.Rebuilt(w.Reopen(), "again.db")
	var recorded []catalog.Drill
	must(t, again.Catalog.Drills(t.Context(), func(d *catalog.Drill) error {
		recorded = append(recorded, *d)
		return nil
	}))
	if len(recorded) != 1 || recorded[0].Messages != 15 || !recorded[0].At.Equal(w.Now) || recorded[0].Store != "scratch" || !recorded[0].DataAt.Equal(w.Now.Add(-5*time.Hour)) {
		t.Errorf("%+v", recorded)
	}
	if run, _, err := again.Catalog.Run(2); err != nil || run.Kind != string(vault.CommitDecision) || run.Host != "host" {
		t.Errorf("%+v, %v", run, err)
	}
}

// What the brake holds is restored to be safe, and so belongs to what is
// compared.
func TestDrillWithHold(t *testing.T) {
	w := world.New(t)
	paths := w.Fill("ann", "INBOX", 100)
	w.Fill("ann", "Gone", 80)
	w.Backup()
	w.Remove(paths[:90]...)
	must(t, os.RemoveAll(filepath.Join(w.Mail, "ann", ".Gone")))
	if r := w.Night(); len(r.HeldByBrake) == 0 {
		t.Fatalf("nothing is held: %+v", r)
	}
	o := drillOptions(w, nil)
	r, err := upkeep.Drill(t.Context(), w.H, o)
	must(t, err)
	if r.Messages != 180 || r.Failed != 0 || len(r.Differences) != 0 {
		t.Errorf("%+v", r)
	}
}

// Every kind of damage is found and named on the terminal, and nobody's name is
// in the record.
func TestDrillFindsDamage(t *testing.T) {
	inbox := func(dir string) []string {
		files, err := filepath.Glob(filepath.Join(dir, "ann", "cur", "*"))
		if err != nil || len(files) != 7 {
			t.Fatalf("%v, %v", files, err)
		}
		slices.Sort(files)
		return files
	}
	for _, c := range []struct {
		name            string
		damage          func(dir string)
		failed          int64
		problem, differ string
	}{
		{"a byte", func(dir string) {
			b, err := os.ReadFile(inbox(dir)[0])
			must(t, err)
			b[len(b)/2] ^= 1
			rewrite(t, inbox(dir)[0], b)
		}, 2, "messages are missing: 1", `user "ann": folder "INBOX": message `},
		{"a lost message", func(dir string) { must(t, os.Remove(inbox(dir)[3])) }, 1, "messages are missing: 1", "it is missing"},
		{"a lost twin", func(dir string) { must(t, os.Remove(inbox(dir)[5])) }, 1, "messages are missing: 1", "it is missing"},
		{"a message too many", func(dir string) {
			must(t, os.WriteFile(filepath.Join(dir, "ann", "cur", "1.x:2,"), []byte("Subject: x\n\nx\n"), 0o600))
		}, 1, "messages are there that the backup does not have: 1", "the backup has no such message there"},
		{"a lost flag", func(dir string) {
			for _, f := range inbox(dir) {
				if base, found := strings.CutSuffix(f, "FRS"); found {
					must(t, os.Rename(f, base+"RS"))
				}
			}
		}, 1, "messages have other flags: 1", `its flags are [\answered \seen], in the backup [\answered \flagged \seen]`},
		{"another date", func(dir string) { must(t, os.Chtimes(inbox(dir)[1], w0, w0)) }, 1, "messages have another date: 1", "its date is "},
		{"flags and date", func(dir string) {
			f := inbox(dir)[1]
			must(t, os.Chtimes(f, w0, w0))
			must(t, os.Rename(f, f+"T"))
		}, 1, "messages have other flags and another date: 1", `its flags are [\deleted], in the backup []`},
		{"a lost folder", func(dir string) { must(t, os.RemoveAll(filepath.Join(dir, "ann", ".Work.Deep"))) }, 2, "folders are missing: 1", `folder "Work/Deep": it is missing`},
		{"a lost empty folder", func(dir string) { must(t, os.RemoveAll(filepath.Join(dir, "ann", ".Empty"))) }, 0, "folders are missing: 1", `folder "Empty": it is missing`},
		{"a renamed folder is found by its mail", func(dir string) {
			must(t, os.Rename(filepath.Join(dir, "ann", ".Work.Deep"), filepath.Join(dir, "ann", ".Else")))
		}, 0, "", ""},
		{"an empty folder too many is no harm", func(dir string) {
			must(t, os.MkdirAll(filepath.Join(dir, "ann", ".Drafts", "cur"), 0o700))
		}, 0, "", ""},
		{"no user", func(dir string) { must(t, os.RemoveAll(filepath.Join(dir, "ann"))) }, 9, "messages are missing: 9", "it is missing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := inhabited(t)
			o := drillOptions(w, c.damage)
			o.Users = []string{"ann", "bob"}
			r, err := upkeep.Drill(t.Context(), w.H, o)
			must(t, err)
			if r.Failed != c.failed || (len(r.Differences) == 0) != (c.problem == "") {
				t.Errorf("%+v", r)
			}
			if c.problem != "" && (!slices.Contains(r.Problems, c.problem) || !strings.Contains(strings.Join(r.Differences, "\n"), c.differ)) {
				t.Errorf("%q %q", r.Problems, r.Differences)
			}
			must(t, w.H.Catalog.Drills(t.Context(), func(d *catalog.Drill) error {
				if text := strings.Join(d.Problems, " ") + d.Store; d.Failed != c.failed || strings.Contains(text, "ann") || strings.Contains(text, "INBOX") {
					t.Errorf("recorded: %+v", d)
				}
				return nil
			}))
		})
	}
}

var w0 = time.Date(2001, 9, 9, 1, 46, 41, 0, time.UTC)

// rewrite changes a file's bytes and nothing else about it.
func rewrite(t *testing.T, path string, b []byte) {
	t.Helper()
	info, err := os.Stat(path)
	must(t, err)
	must(t, os.WriteFile(path, b, 0o600))
	must(t, os.Chtimes(path, info.ModTime(), info.ModTime()))
}

// A user who could not be restored fails the drill; what ends everything leaves
// no record.
func TestDrillErrors(t *testing.T) {
	w := inhabited(t)
	o := drillOptions(w, nil)
	o.Users = []string{"ann"}
	plain := o.Restore
	o.Restore = func(ctx context.Context, users []string, each func(upkeep.Drilled)) error {
		each(upkeep.Drilled{User: "ann", Err: errors.New("the disk is full")})
		return nil
	}
	o.Open = func([]string) (mailstore.Source, error) { return empty{}, nil }
	r, err := upkeep.Drill(t.Context(), w.H, o)
	must(t, err)
	if !slices.Contains(r.Problems, "users could not be restored: 1") || !strings.Contains(r.Differences[0], `user "ann": the disk is full`) || r.Failed != 9 || r.Whole != nil {
		t.Errorf("%+v", r)
	}
	before, err := w.H.Catalog.Head()
	must(t, err)
	broken := errors.New("broken")
	for name, change := range map[string]func(*upkeep.DrillOptions){
		"restore": func(o *upkeep.DrillOptions) {
			o.Restore = func(context.Context, []string, func(upkeep.Drilled)) error { return broken }
		},
		"open": func(o *upkeep.DrillOptions) {
			o.Restore, o.Open = plain, func([]string) (mailstore.Source, error) { return nil, broken }
		},
		"list": func(o *upkeep.DrillOptions) {
			o.Restore, o.Open = plain, func([]string) (mailstore.Source, error) { return empty{broken}, nil }
		},
	} {
		o := o
		change(&o)
		if _, err := upkeep.Drill(t.Context(), w.H, o); !errors.Is(err, broken) {
			t.Errorf("%s: %v", name, err)
		}
	}
	o.Users = []string{"carla"}
	if _, err := upkeep.Drill(t.Context(), w.H, o); !errors.Is(err, upkeep.ErrNoUser) {
		t.Error(err)
	}
	if after, err := w.H.Catalog.Head(); err != nil || after != before {
		t.Errorf("%+v, %v", after, err)
	}
	fresh := world.New(t)
	if _, err := upkeep.Drill(t.Context(), fresh.H, drillOptions(fresh, nil)); !errors.Is(err, upkeep.ErrNobody) {
		t.Error(err)
	}
}

// A host that may not record a drill does not begin one.
func TestDrillNeedsWriter(t *testing.T) {
	w := inhabited(t)
	o := drillOptions(w, nil)
	o.Restore = func(context.Context, []string, func(upkeep.Drilled)) error {
		t.Error("something was restored")
		return nil
	}
	key, err := w.H.Vault.NewHostKey("guest")
	must(t, err)
	must(t, w.H.Vault.Certify(t.Context(), w.Identity.Root(), key.Request(), []vault.Role{vault.RoleBackup}, w.Now))
	guest := *w.H
	guest.Host = key
	if _, err := upkeep.Drill(t.Context(), &guest, o); !errors.Is(err, vault.ErrNotAuthentic) {
		t.Error(err)
	}
	guest.Host = nil
	if _, err := upkeep.Drill(t.Context(), &guest, o); !errors.Is(err, history.ErrNoWriter) {
		t.Error(err)
	}
}

// empty is a store in which nobody is.
type empty struct{ err error }

func (e empty) Users(context.Context, func(mailstore.User) error) error { return e.err }
func (e empty) Mailboxes(context.Context, mailstore.User, func(mailstore.Mailbox) error) error {
	return nil
}
func (e empty) Messages(context.Context, mailstore.Mailbox, func(mailstore.Message) error) error {
	return nil
}
func (e empty) Open(context.Context, mailstore.Mailbox, mailstore.Message) (io.ReadCloser, error) {
	return nil, mailstore.ErrVanished
}

// A backup that comes in between makes differences that mean nothing.
func TestDrillMeetsBackup(t *testing.T) {
	w := inhabited(t)
	o := drillOptions(w, func(string) {
		w.Fill("ann", "INBOX", 1)
		w.Night()
	})
	o.Users = []string{"ann"}
	if _, err := upkeep.Drill(t.Context(), w.H, o); !errors.Is(err, upkeep.ErrMoved) {
		t.Error(err)
	}
	if r, err := upkeep.Drill(t.Context(), w.H, drillOptions(w, nil)); err != nil || r.Failed != 0 {
		t.Errorf("%+v, %v", r, err)
	}
}

// By and by everybody who has mail is drilled, and nobody twice before.
func TestDrillsGoRound(t *testing.T) {
	w := inhabited(t)
	seen := map[string]int{}
	for i := range 5 {
		w.Sleep(7 * 24 * time.Hour)
		o := drillOptions(w, nil)
		o.Sample = 2
		plain := o.Restore
		o.Restore = func(ctx context.Context, users []string, each func(upkeep.Drilled)) error {
			if len(users) != 2 {
				t.Errorf("drill %d: %v", i, users)
			}
			for _, u := range users {
				seen[u]++
			}
			return plain(ctx, users, each)
		}
		_, err := upkeep.Drill(t.Context(), w.H, o)
		must(t, err)
	}
	if len(seen) != 5 || seen["nobody"] != 0 {
		t.Errorf("%v", seen)
	}
}

// Status shows the last drill, and wants attention for one that failed or is old.
func TestStatusOfDrills(t *testing.T) {
	w := inhabited(t)
	status := func() *upkeep.Status {
		t.Helper()
		s, err := upkeep.ReadStatus(t.Context(), w.H.Catalog, upkeep.StatusOptions{Now: w.Now, Late: 1e6 * time.Hour})
		must(t, err)
		return s
	}
	if s := status(); s.Drill != nil || len(s.Attention) != 0 {
		t.Errorf("%+v", s)
	}
	w.Sleep(time.Hour)
	_, err := upkeep.Drill(t.Context(), w.H, drillOptions(w, nil))
	must(t, err)
	if s := status(); s.Drill == nil || *s.Drill.DataAge != 3600 || s.Drill.Whole == nil || s.Drill.Users != 3 || len(s.Attention) != 0 {
		t.Errorf("%+v %+v", s.Drill, s.Attention)
	}
	w.Sleep(36 * 24 * time.Hour)
	if s := status(); len(s.Attention) != 1 || !strings.Contains(s.Attention[0], "the last restore drill was on 2026-03-01") {
		t.Errorf("%q", s.Attention)
	}
	_, err = upkeep.Drill(t.Context(), w.H, drillOptions(w, func(dir string) {
		files, err := filepath.Glob(dir + "/*/cur/*")
		if err != nil || len(files) == 0 {
			t.Fatal(err)
		}
		must(t, os.Remove(files[0]))
	}))
	must(t, err)
	want := fmt.Sprintf("the restore drill of %s did not bring back what the backup has (messages are missing: 1): ", w.Now.Format(time.DateOnly))
	if s := status(); len(s.Attention) != 1 || !strings.HasPrefix(s.Attention[0], want) {
		t.Errorf("%q", s.Attention)
	}
}
