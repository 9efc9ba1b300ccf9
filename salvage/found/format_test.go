package found

import (
	"os"
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
	for _, word := range []string{HeadFile, ListFile, ReportFile, SurveyFile, mailDir + "/ab/"} {
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
