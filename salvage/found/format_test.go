package found

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// What is written into a result directory is what docs/format.md says.
func TestFormatIsWrittenDown(t *testing.T) {
	text, err := os.ReadFile("../../docs/format.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(text), "\n## Result directories\n")
	if !ok {
		t.Fatal("there is no section about result directories")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	told := map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| (`[^|]*) \\|").FindAllStringSubmatch(section, -1) {
		for _, name := range regexp.MustCompile("`([a-z_0-9]+)`").FindAllStringSubmatch(row[1], -1) {
			told[name[1]] = true
		}
	}
	has := map[string]bool{}
	for f := range reflect.TypeFor[Finding]().Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		has[name] = true
		if !told[name] {
			t.Errorf("%s is not told", name)
		}
	}
	for name := range told {
		if !has[name] {
			t.Errorf("%s is told, and is no field", name)
		}
	}
	for _, word := range []string{HeadFile, ListFile, ReportFile, SurveyFile, packName(1), headerTag, fmt.Sprintf("%d bytes", headerLen)} {
		if !strings.Contains(section, word) {
			t.Errorf("%s is not told", word)
		}
	}
	for _, c := range Classes {
		if !strings.Contains(section, "`"+string(c)+"`") {
			t.Errorf("class %s is not told", c)
		}
	}
}

// The program in docs/format.md gets the bytes back that were kept.
func TestUnpackByHand(t *testing.T) {
	page, err := os.ReadFile("../../docs/format.md")
	if err != nil {
		t.Fatal(err)
	}
	program := regexp.MustCompile("(?s)```python\n(import hashlib, json, os, sys\n.*?)```\n").FindSubmatch(page)
	if program == nil {
		t.Fatal("docs/format.md holds no program")
	}
	dir, to := t.TempDir(), filepath.Join(t.TempDir(), "to")
	w := create(t, dir, noFloor)
	w.limit = 300
	all := keepAll(t, w, some)
	finish(t, w, append(all, finding("held", Held))...)
	if out, err := exec.Command("python3", "-c", string(program[1]), dir, to).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for i, f := range all {
		if b, err := os.ReadFile(filepath.Join(to, f.ID+".eml")); err != nil || string(b) != some[i] {
			t.Errorf("%s came out as %q: %v", f.ID, b, err)
		}
	}
	if files, err := os.ReadDir(to); err != nil || len(files) != len(all) {
		t.Errorf("%d files came of %d findings: %v", len(files), len(all), err)
	}
}
