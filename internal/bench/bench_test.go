package main

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
)

// copier is a backup program that anybody has.
func copier(name string) *tool {
	return &tool{
		name: name, version: []string{"cp", "--version"},
		env:    func(job) []string { return nil },
		init:   func(j job) []string { return []string{"mkdir", j.repository()} },
		backup: func(j job) []string { return []string{"cp", "-R", j.mail, filepath.Join(j.repository(), j.name)} },
		one: func(j job) []string {
			return []string{"cp", "-R", filepath.Join(j.repository(), j.last, j.user), j.out}
		},
		all:      func(j job) []string { return []string{"cp", "-R", filepath.Join(j.repository(), j.last) + "/.", j.out} },
		check:    func(j job) []string { return []string{"ls", j.repository()} },
		restored: func(j job) string { return j.out },
	}
}

func TestCompare(t *testing.T) {
	s := parse([]string{"-small", "-messages", "120", "-users", "3", "-rounds", "2", "-dir", t.TempDir()})
	var b strings.Builder
	if err := s.compareTools(context.Background(), []*tool{copier("salvor"), copier("restic"), copier("other")}, &b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"Mail: 3 users, ", "Rounds: 2 interleaved", "- salvor: cp (GNU coreutils)", "| measure | salvor | restic | other |",
		"\n| first backup | ", "\n| restore of one user | ", "\n| files in the vault | ", " 1.00 | 1.00 | 0.26, 0.48 of restic |",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in:\n%s", want, b.String())
		}
	}
}

// A restore that loses mail is no fast restore.
func TestLossIsNoticed(t *testing.T) {
	s := parse([]string{"-small", "-messages", "60", "-users", "2", "-dir", t.TempDir()})
	lossy := copier("salvor")
	lossy.all = func(j job) []string {
		return []string{"cp", "-R", filepath.Join(j.repository(), j.last, j.user), j.out}
	}
	err := s.compareTools(context.Background(), []*tool{lossy}, &strings.Builder{})
	if err == nil || !strings.Contains(err.Error(), "salvor restored") {
		t.Errorf("got %v", err)
	}
}

func TestFailuresAreShown(t *testing.T) {
	_, err := run(context.Background(), t.TempDir(), nil, []string{"sh", "-c", "echo what went wrong >&2; exit 3"})
	if err == nil || !strings.Contains(err.Error(), "what went wrong") || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("got %v", err)
	}
}

func TestRunMeasures(t *testing.T) {
	f, err := run(context.Background(), t.TempDir(), []string{"X=1"}, []string{"sh", "-c", "test $X = 1 && sleep 0.05"})
	if err != nil || f.wall < 0.05 || f.peak < 100<<10 || f.peak > 1<<30 {
		t.Errorf("got %+v, %v", f, err)
	}
}

func TestCleanEnvironment(t *testing.T) {
	got := clean([]string{"PATH=/bin", "SALVOR_VAULT=x", "RESTIC_PASSWORD=x", "BORG_REPO=x", "XDG_DATA_HOME=x"})
	if len(got) != 1 || got[0] != "PATH=/bin" {
		t.Errorf("got %v", got)
	}
}

func TestIsMail(t *testing.T) {
	for path, want := range map[string]bool{
		"/m/u/cur/1.x:2,S": true, "/m/u/new/1.x": true, "/m/u/.Sent/cur/1.x:2,S": true, "/m/u/.Junk/cur/1": false,
		"/m/u/.Junk.Old/cur/1": false, "/m/u/dovecot-uidlist": false, "/m/u/.Junkyard/cur/1": true,
	} {
		if isMail(path) != want {
			t.Errorf("%s: %v", path, !want)
		}
	}
}

func TestMedian(t *testing.T) {
	for want, all := range map[float64][]float64{0: nil, 2: {3, 1, 2}, 2.5: {4, 1, 2, 3}} {
		if got := median(all); got != want {
			t.Errorf("%v: %v", all, got)
		}
	}
	if ratio(1, 0) != "-" || ratio(1, 4) != "0.25" {
		t.Error("ratio")
	}
}

func TestPeersLeaveJunkOut(t *testing.T) {
	j := job{home: "/h", mail: "/m", name: "n"}
	for _, tool := range []*tool{restic(), borg("lz4")} {
		line := strings.Join(tool.backup(j), " ")
		if !strings.Contains(line, ".Junk ") || !strings.Contains(line, ".Junk.*") {
			t.Errorf("%s: %s", tool.name, line)
		}
	}
	if line := strings.Join(salvor("salvor").backup(j), " "); line != "salvor backup maildir:/m/%u --json --vault /h/repository --quiet" {
		t.Errorf("salvor: %s", line)
	}
}

func TestMachineIsNamed(t *testing.T) {
	if m := machine(t.TempDir()); !strings.Contains(m, "cores") || !strings.Contains(m, "Linux") {
		t.Errorf("got %q", m)
	}
}
