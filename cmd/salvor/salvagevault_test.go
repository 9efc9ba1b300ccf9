package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v2"

	"salvor/internal/backup"
	"salvor/internal/incident"
	"salvor/internal/incident/stow"
	"salvor/salvage/found"
)

// inside runs fn as one of the program's commands would run, in a world's home.
func (w *world) inside(fn func(ctx context.Context, a *app) error) {
	w.t.Helper()
	env := map[string]string{}
	for _, line := range w.env {
		name, value, _ := strings.Cut(line, "=")
		env[name] = value
	}
	var out bytes.Buffer
	a := &app{stdin: strings.NewReader(""), stdout: &out, stderr: &out, out: newOutput(&out), getenv: func(name string) string { return env[name] }, now: time.Now}
	root := &cli.App{Name: "salvor", Flags: globalFlags(), Commands: []*cli.Command{{Name: "inside",
		Action: a.action(0, 0, func(ctx context.Context, _ *cli.Context) error { return fn(ctx, a) })}}}
	if err := root.RunContext(w.t.Context(), []string{"salvor", "inside"}); err != nil {
		w.t.Fatalf("%v\n%s", err, &out)
	}
	must(w.t, a.close())
}

// TestSalvageInVault shows what a salvage has put into the vault: listing it needs no
// identity, its bytes do, and they are those that were found.
func TestSalvageInVault(t *testing.T) {
	w := newWorld(t)
	must(t, os.MkdirAll(w.path("mail", "alice", "cur"), 0o700))
	must(t, os.MkdirAll(w.path("mail", "alice", "new"), 0o700))
	must(t, os.WriteFile(w.path("mail", "alice", "cur", "1.M1.host:2,"), []byte("Subject: held\n\nText\n"), 0o600))
	source := "maildir:" + w.path("mail", "%u")
	w.run("init")
	w.backup(source)
	w.run("incident", "open", "fire", "--source", source, "--index", "none")
	body := "From: Some One <one@example.org>\r\nSubject: half\r\n\r\nThere was \x00\x00\x00\x00 more\n"
	sum := sha256.Sum256([]byte(body))
	f := &found.Finding{ID: hex.EncodeToString(sum[:8]), Class: found.Damaged, Grade: found.Partial, Why: "a hole", Size: int64(len(body)),
		SHA256Stored: hex.EncodeToString(sum[:]), User: "alice", UserBy: "path", Subject: "half", From: "one@example.org", Source: "disk.img", How: "file"}
	w.inside(func(ctx context.Context, a *app) error {
		s, err := a.openUnless(ctx, false)
		if err != nil {
			return err
		}
		return incident.Act(ctx, s.history(), incident.ActOptions{Name: "fire", Purpose: "test", Now: a.now}, func(ctx context.Context, l *incident.Ledger) error {
			k := stow.New(l, stow.Options{Salvage: "disk.img", Envelope: backup.Envelope})
			if err := k.Keep(ctx, f, strings.NewReader(body)); err != nil {
				return err
			}
			return k.Finish(ctx, func(yield func(*found.Finding) error) error { return yield(f) })
		})
	})
	if out := w.run("salvage", "show", "--incident", "fire", "--class", "damaged"); !strings.Contains(out, f.ID+"  damaged  partial  alice") {
		t.Errorf("listed as\n%s", out)
	}
	if out := w.run("salvage", "show", f.ID[:6], "--raw", "--incident", "fire"); out != body {
		t.Errorf("it holds %q", out)
	}
	if out := w.run("salvage", "show", "--incident", "fire", f.ID); !strings.Contains(out, "Subject:    half\n") || !strings.Contains(out, "a hole") {
		t.Errorf("shown as\n%s", out)
	}
	w.fails(exitUsage, "there is no password", "redeliver", "--incident", "fire", "--from", "vault", "--damaged", f.ID[:8], "--user", "alice", "--folder", "INBOX",
		"--to", "imap://admin@127.0.0.1:1")
	w.fails(exitUsage, "no such finding", "redeliver", "--incident", "fire", "--from", "vault", "--damaged", "ffff", "--to", "imap://admin@127.0.0.1:1")
	w.fails(exitFailed, "no incident", "salvage", "show", "--incident", "flood")
	must(t, os.Rename(w.identity(), w.path("aside")))
	w.run("salvage", "show", "--incident", "fire")
	w.fails(exitNoIdentity, "", "salvage", "show", "--incident", "fire", f.ID)
}
