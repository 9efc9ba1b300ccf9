package main

import (
	"bytes"
	"fmt"
	"iter"
	"os/exec"
	"path/filepath"
	"strings"

	"salvor/internal/testenv/diskimage"
)

// A rescuer is a program that brings files back from a disk.
type rescuer struct {
	name, about string
	version     []string
	disk        string // the only file system that it can read; "" for any
	repairs     bool   // it writes to the disk: it gets a copy, which is then mounted
	line        func(s *settings, disk, table, out string) []string
}

// inOrder are all of them. A line ends with exit code 0 when the tool has done
// what it could.
var inOrder = []*rescuer{
	{name: "salvor", line: func(s *settings, disk, table, out string) []string {
		// 3: some of what it found is damaged.
		line := shell(`"$0" "$@"; code=$?; test $code -eq 0 -o $code -eq 3`, s.program, "salvage", disk, "--out", filepath.Join(out, "found"), "--json")
		if table != "" {
			line = append(line, "--map", table)
		}
		return line
	}},
	{name: "photorec", version: []string{"photorec", "/version"}, line: func(_ *settings, disk, _, out string) []string {
		// Both families of text are needed to get mail at all.
		return []string{"photorec", "/d", filepath.Join(out, "recup"), "/cmd", disk,
			"partition_none,fileopt,everything,disable,txt,enable,tx?,enable,wholespace,search"}
	}},
	{name: "e2fsck", version: []string{"e2fsck", "-V"}, disk: diskimage.Ext4, repairs: true, line: func(_ *settings, disk, _, _ string) []string {
		// Where the copies of the superblock are depends on the size of the disk. Exit
		// codes from 4 on: errors are left.
		return shell("for copy in '' '-b 4096' '-b 12288' '-b 32768' '-b 98304'; do e2fsck -fy $copy -B 4096 $0; test $? -lt 4 && exit 0; done; exit 1", disk)
	}},
	{name: "ext4magic", version: []string{"ext4magic", "-V"}, disk: diskimage.Ext4, line: func(_ *settings, disk, _, out string) []string {
		return []string{"ext4magic", disk, "-M", "-d", filepath.Join(out, "magic")}
	}},
	{name: "xfs_repair", version: []string{"xfs_repair", "-V"}, disk: diskimage.XFS, repairs: true, line: func(_ *settings, disk, _, _ string) []string {
		return shell("xfs_repair -L $0", disk)
	}},
}

func shell(text string, args ...string) []string { return append([]string{"sh", "-c", text}, args...) }

// rescuers are the tools that were asked for.
func (s *settings) rescuers() (all []*rescuer, err error) {
	asked := strings.Split(s.tools, ",")
	for _, t := range inOrder {
		for i, name := range asked {
			if name != t.name {
				continue
			}
			if t.version == nil {
				t.version = []string{s.program, "version"}
			}
			if _, err := exec.LookPath(t.version[0]); err != nil {
				return nil, fmt.Errorf("%w (hint: apt-get install testdisk e2fsprogs ext4magic xfsprogs)", err)
			}
			out, _ := exec.Command(t.version[0], t.version[1:]...).CombinedOutput()
			line, _, _ := bytes.Cut(bytes.TrimSpace(out), []byte("\n"))
			t.about = string(line)
			all = append(all, t)
			asked = append(asked[:i:i], asked[i+1:]...)
			break
		}
	}
	if len(asked) > 0 {
		return nil, fmt.Errorf("no tool is called %q", asked[0])
	}
	return all, nil
}

// score judges what a tool has left behind.
func (t *rescuer) score(d *diskimage.Damaged, limit *diskimage.Limit, disk, out string) (r *diskimage.Report, err error) {
	switch {
	case t.name == "salvor":
		return d.Score(t.name, limit, diskimage.Results(filepath.Join(out, "found")))
	case t.repairs:
		err = diskimage.Look(disk, func(dir string) (err error) {
			r, err = d.Score(t.name, limit, named(d, dir, diskimage.Tree([]string{dir}, beside)))
			return err
		})
		return r, err
	}
	return d.Score(t.name, limit, diskimage.Tree([]string{out}, beside))
}

// beside tells what a server keeps beside its mail and what a tool writes for
// itself: nobody takes that for mail.
func beside(path string) bool {
	name := filepath.Base(path)
	return strings.HasPrefix(name, "cyrus.") || strings.HasPrefix(name, "dovecot") || name == "report.xml" || name == "photorec.log"
}

// named says whose a file is that still stands under its own path.
func named(d *diskimage.Damaged, dir string, results iter.Seq2[diskimage.Result, error]) iter.Seq2[diskimage.Result, error] {
	owners := map[string]diskimage.Message{}
	for _, m := range d.Base.Messages {
		owners[m.Path] = m
	}
	return func(yield func(diskimage.Result, error) bool) {
		for r, err := range results {
			if at, failed := filepath.Rel(dir, r.Name); failed == nil {
				r.User, r.Folder = owners[at].User, owners[at].Folder
			}
			if !yield(r, err) {
				return
			}
		}
	}
}
