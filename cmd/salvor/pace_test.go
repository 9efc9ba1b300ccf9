package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"salvor/internal/mailgen"
	"salvor/internal/pace"
)

// A background is a command that runs while the test does something else.
type background struct {
	*exec.Cmd
	t    *testing.T
	out  bytes.Buffer
	done chan error
}

func (w *world) begin(args ...string) *background {
	w.t.Helper()
	b := &background{Cmd: w.command(args...), t: w.t, done: make(chan error, 1)}
	b.Stdout, b.Stderr = &b.out, &b.out
	must(w.t, b.Start())
	go func() { b.done <- b.Wait() }()
	w.t.Cleanup(func() { b.Process.Kill() })
	return b
}

// ends waits until the command has ended well.
func (b *background) ends(within time.Duration) {
	b.t.Helper()
	select {
	case err := <-b.done:
		if err != nil {
			b.t.Fatalf("%v\n%s", err, &b.out)
		}
	case <-time.After(within):
		b.t.Fatalf("%q still runs after %v", b.Args, within)
	}
}

// paceOf waits until a running command has a pace.
func (w *world) paceOf(b *background, want string) pace.Running {
	w.t.Helper()
	var r pace.Running
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(30 * time.Millisecond) {
		out := w.run("pace", "--json", "--pid", fmt.Sprint(b.Process.Pid))
		if out != "" {
			must(w.t, json.Unmarshal([]byte(out), &r))
		}
		if r.Pace == want {
			return r
		}
	}
	w.t.Fatalf("the pace of %q is %q, want %q", b.Args, r.Pace, want)
	return r
}

// TestPaceWhileRunning steers real commands: by order and by SIGHUP.
func TestPaceWhileRunning(t *testing.T) {
	w := newWorld(t)
	_, err := mailgen.Create(context.Background(), mailgen.Options{Root: w.path("mail"), Users: 2, Messages: 60, Seed: 4})
	must(t, err)
	config := w.path("salvor.toml")
	write := func(text string) {
		t.Helper()
		must(t, os.WriteFile(config, []byte(fmt.Sprintf("catalog = %q\n%s\n", w.path("state", "catalog.db"), text)), 0o600))
	}
	write("")
	w.env = append(w.env, "SALVOR_CONFIG="+config)
	if out := w.run("pace"); !strings.Contains(out, "nothing is running") {
		t.Errorf("got %q", out)
	}
	if err := w.command("pace", "1msg/s").Run(); exitOf(err) != exitFailed {
		t.Errorf("a pace for nobody: %v", err)
	}
	w.run("init")

	source := "maildir:" + w.path("mail", "%u")
	backup := w.begin("backup", "--quiet", "--pace", "1msg/min", source)
	r := w.paceOf(backup, pace.Rate{Messages: 1.0 / 60}.String())
	if r.Command != "backup "+source || time.Since(r.Since) > time.Minute {
		t.Errorf("%+v", r)
	}
	out := w.run("pace", "none", "--pid", fmt.Sprint(backup.Process.Pid))
	if !strings.Contains(out, "unlimited, was") {
		t.Errorf("got %q", out)
	}
	backup.ends(30 * time.Second)

	restore := w.begin("restore", "--all", "--to", "maildir:"+w.path("new", "%u"), "--pace", "1msg/min")
	other := w.begin("restore", "--all", "--to", "maildir:"+w.path("dead", "%u"), "--pace", "2msg/min")
	w.paceOf(restore, pace.Rate{Messages: 1.0 / 60}.String())
	w.paceOf(other, pace.Rate{Messages: 2.0 / 60}.String())
	if out := w.run("pace"); strings.Count(out, "\n") != 3 {
		t.Errorf("two commands run:\n%s", out)
	}
	if out := w.run("pace", "30msg/min"); strings.Count(out, "0.5msg/s, was") != 2 {
		t.Errorf("got %q", out)
	}
	must(t, other.Process.Kill())
	<-other.done
	if out := w.run("pace", "--json"); strings.Count(out, "\n") != 1 {
		t.Errorf("one was killed:\n%s", out)
	}

	hup := func(text, want string) {
		t.Helper()
		write(text)
		must(t, restore.Process.Signal(syscall.SIGHUP))
		w.paceOf(restore, want)
	}
	hup(`pace = "1msg/s"`, "1msg/s")
	hup(``, pace.Rate{Messages: 1.0 / 60}.String()) // what --pace says
	hup("pace = \"9msg/s\"\n[rates]\n\"maildir:"+w.path("new")+"\" = \"3msg/s\"", "3msg/s")
	write(`pace = "100000msg/s"`)
	must(t, restore.Process.Signal(syscall.SIGHUP))
	restore.ends(30 * time.Second)
	if !strings.Contains(restore.out.String(), "the pace is 0.5msg/s now") {
		t.Errorf("said:\n%s", &restore.out)
	}
	w.run("check", "--quiet")
}
