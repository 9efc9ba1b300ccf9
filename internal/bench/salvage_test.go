package main

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// finder is a salvage that finds nothing.
const finder = `#!/bin/sh
test "$1" = version && { echo finder 1.0; exit; }
mkdir -p "$4" && : >"$4/found.jsonl"
`

func TestCompareSalvage(t *testing.T) {
	program := filepath.Join(t.TempDir(), "finder")
	if err := os.WriteFile(program, []byte(finder), 0o700); err != nil {
		t.Fatal(err)
	}
	s := parse([]string{"-salvage", "-small", "-image", "64", "-disks", "ext4", "-damages", "header,hole", "-tools", "e2fsck,salvor", "-salvor", program, "-dir", t.TempDir()})
	var b strings.Builder
	if err := s.compareSalvage(context.Background(), &b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`(?m)^- salvor: finder 1\.0$`, `(?m)^- e2fsck: e2fsck 1\.`, `(?m)^Disk: ext4 of 64 MiB, seed 1, aged true: \d+ messages`,
		`(?m)^\| ext4 \| header \| 100\.00 % \(100\.0 %\) \| salvor \| 0\.00 % \(0\.0 %\) \| 0 \| 0 \| 0\.0 % \| `,
		`(?m)^\| ext4 \| header \| 100\.00 % \(100\.0 %\) \| e2fsck \| 100\.00 % \(100\.0 %\) \| 0 \| 0 \| 100\.0 % \| `,
		`(?m)^\| ext4 \| header \| e2fsck \| - \| - \| \d+\.\d\d \| \d+\.\d\d \| 0 \|$`,
		`(?m)^\| ext4 \| hole \| e2fsck \| `, `(?m)^\| aim \| \| \| 1\.00 `,
	} {
		if !regexp.MustCompile(want).MatchString(b.String()) {
			t.Errorf("no %s in:\n%s", want, b.String())
		}
	}
	for _, wrong := range [][]string{{"-damages", "fire"}, {"-damages", "raid5-one"}, {"-tools", "salvor,spade"}} {
		s := parse(append([]string{"-salvage", "-image", "64", "-salvor", program, "-dir", t.TempDir()}, wrong...))
		if err := s.compareSalvage(context.Background(), &b); err == nil || !strings.Contains(err.Error(), "is called") {
			t.Errorf("%v: %v", wrong, err)
		}
	}
}
