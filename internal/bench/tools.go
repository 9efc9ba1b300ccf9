package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// junk are the folders that nobody backs up, as patterns for the peers.
var junk = []string{".Junk", ".Junk.*"}

// A job is what a tool works on in one round.
type job struct {
	home string // the tool's own directory: repository, caches, configuration
	mail string // the Maildirs, one a user
	out  string // where restored mail goes
	user string // the one to be restored alone
	name string // of the archive that a backup makes
	last string // of the archive to restore from
}

// repository is what a tool stores into; its size is what counts.
func (j job) repository() string { return filepath.Join(j.home, "repository") }

// A tool is a backup program with the command lines of each step.
type tool struct {
	name    string
	version []string
	env     func(j job) []string
	init    func(j job) []string
	backup  func(j job) []string
	one     func(j job) []string
	all     func(j job) []string
	check   func(j job) []string
	// restored says where the users' Maildirs are after a restore.
	restored func(j job) string
}

// chosen gives the tools by name, in the order asked for.
func (s *settings) chosen() ([]*tool, error) {
	known := map[string]*tool{
		"salvor":    salvor(s.program),
		"restic":    restic(),
		"borg-lz4":  borg("lz4"),
		"borg-zstd": borg("zstd,3"),
	}
	var all []*tool
	for _, name := range strings.Split(s.tools, ",") {
		t := known[name]
		if t == nil {
			return nil, fmt.Errorf("no tool is called %q", name)
		}
		if _, err := exec.LookPath(t.version[0]); err != nil {
			return nil, fmt.Errorf("%w (hint: apt-get install restic borgbackup)", err)
		}
		all = append(all, t)
	}
	return all, nil
}

func salvor(program string) *tool {
	run := func(j job, args ...string) []string {
		return append(append([]string{program}, args...), "--vault", j.repository(), "--quiet")
	}
	return &tool{
		name: "salvor", version: []string{program, "version"},
		env: func(j job) []string {
			return []string{"XDG_CONFIG_HOME=" + j.home + "/config", "XDG_DATA_HOME=" + j.home + "/data"}
		},
		init:   func(j job) []string { return run(j, "init") },
		backup: func(j job) []string { return run(j, "backup", "maildir:"+j.mail+"/%u", "--json") },
		one: func(j job) []string {
			return run(j, "restore", j.user, "--to", "maildir:"+filepath.Join(j.out, j.user))
		},
		all:      func(j job) []string { return run(j, "restore", "--all", "--to", "maildir:"+j.out+"/%u") },
		check:    func(j job) []string { return run(j, "check", "--read-data") },
		restored: func(j job) string { return j.out },
	}
}

func restic() *tool {
	backup := []string{"restic", "-q", "backup"}
	for _, p := range junk {
		backup = append(backup, "--exclude", p)
	}
	return &tool{
		name: "restic", version: []string{"restic", "version"},
		env: func(j job) []string {
			return []string{"RESTIC_REPOSITORY=" + j.repository(), "RESTIC_PASSWORD_FILE=" + j.home + "/password", "RESTIC_CACHE_DIR=" + j.home + "/cache"}
		},
		init:   func(job) []string { return []string{"restic", "-q", "init"} },
		backup: func(j job) []string { return append(backup[:len(backup):len(backup)], j.mail) },
		one: func(j job) []string {
			return []string{"restic", "-q", "restore", "latest", "--target", j.out, "--include", filepath.Join(j.mail, j.user)}
		},
		all:      func(j job) []string { return []string{"restic", "-q", "restore", "latest", "--target", j.out} },
		check:    func(job) []string { return []string{"restic", "-q", "check", "--read-data"} },
		restored: func(j job) string { return filepath.Join(j.out, j.mail) },
	}
}

func borg(compression string) *tool {
	backup := []string{"borg", "create", "--compression", compression}
	for _, p := range junk {
		backup = append(backup, "--exclude", "sh:**/"+p)
	}
	return &tool{
		name: "borg " + compression, version: []string{"borg", "--version"},
		env: func(j job) []string {
			return []string{"BORG_REPO=" + j.repository(), "BORG_PASSPHRASE=" + password, "BORG_BASE_DIR=" + j.home,
				"BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK=no", "BORG_RELOCATED_REPO_ACCESS_IS_OK=no"}
		},
		init:   func(job) []string { return []string{"borg", "init", "--encryption", "repokey"} },
		backup: func(j job) []string { return append(backup[:len(backup):len(backup)], "::"+j.name, j.mail) },
		one: func(j job) []string {
			return []string{"borg", "extract", "::" + j.last, strings.TrimPrefix(filepath.Join(j.mail, j.user), "/")}
		},
		all:      func(j job) []string { return []string{"borg", "extract", "::" + j.last} },
		check:    func(job) []string { return []string{"borg", "check", "--verify-data"} },
		restored: func(j job) string { return filepath.Join(j.out, j.mail) },
	}
}

// password protects repositories that live for minutes.
const password = "measured"

// prepare makes a tool's own directory for a round.
func (t *tool) prepare(j job) error {
	if err := os.MkdirAll(j.home, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(j.home, "password"), []byte(password+"\n"), 0o600)
}

// versionLine asks a program which one it is.
func (t *tool) versionLine() string {
	out, err := exec.Command(t.version[0], t.version[1:]...).Output()
	if err != nil {
		return t.name + " (" + err.Error() + ")"
	}
	line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	if len(line) > 60 {
		line = line[:60]
	}
	return line
}
