package incident

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"salvor/internal/mailstore/cyrus"
)

const imapdConf = `# a comment
configdirectory: /var/lib/cyrus
partition-default: /srv/mail
metapartition-default: /srv/meta
partition-fast: /srv/fast
metadir-index-fast: /srv/index
archivepartition-default: /srv/archive
MetaPartition_Files: header index \
 cache expunge
mboxlist_db_path: /run/cyrus/mailboxes.db
unixhierarchysep: yes
sasl_passwd: geheim
tls_server_key: /etc/key
admins: cyrus
`

// read reads the text of an imapd.conf.
func read(t *testing.T, text string) (settings, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "imapd.conf")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := cyrus.ReadSettings(file)
	return s, err
}

func parse(t *testing.T, text string) settings {
	t.Helper()
	s, err := read(t, text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The copy's imapd.conf names the copy's directories, and no secret.
func TestMovedConfig(t *testing.T) {
	want := `archivepartition-default: /keep/archivepartition-default
configdirectory: /keep/configdirectory
mboxlist_db_path: /keep/mboxlist_db_path/mailboxes.db
metadir-index-fast: /keep/metadir-index-fast
metapartition-default: /keep/metapartition-default
metapartition_files: header index  cache expunge
partition-default: /keep/partition-default
partition-fast: /keep/partition-fast
unixhierarchysep: yes
`
	if got := parse(t, imapdConf).moved("/keep"); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

// A partition whose metadata is all elsewhere is not looked into.
func TestCyrusTrees(t *testing.T) {
	dirs := map[string]string{}
	for _, tree := range parse(t, imapdConf).trees() {
		dirs[tree.Name] = tree.Dir
		kept := map[string]bool{}
		for _, name := range []string{"a/cyrus.index", "a/1.", "mailboxes.db", "other.db"} {
			kept[name] = tree.Keep == nil || tree.Keep(name)
		}
		want := map[string]bool{"a/cyrus.index": true, "a/1.": false, "mailboxes.db": false, "other.db": false}
		switch tree.Name {
		case "configdirectory":
			want = map[string]bool{"a/cyrus.index": true, "a/1.": true, "mailboxes.db": true, "other.db": true}
			if !tree.Skip("proc") || !tree.Skip("socket") || tree.Skip("user") || tree.Skip("quota") {
				t.Error("it skips the wrong directories")
			}
		case "mboxlist_db_path":
			want = map[string]bool{"a/cyrus.index": false, "a/1.": false, "mailboxes.db": true, "other.db": false}
		}
		if !reflect.DeepEqual(kept, want) {
			t.Errorf("%s: %v", tree.Name, kept)
		}
	}
	want := map[string]string{"configdirectory": "/var/lib/cyrus", "partition-default": "", "metapartition-default": "/srv/meta", "partition-fast": "/srv/fast",
		"metadir-index-fast": "/srv/index", "archivepartition-default": "", "mboxlist_db_path": "/run/cyrus"}
	if !reflect.DeepEqual(dirs, want) {
		t.Errorf("%v, want %v", dirs, want)
	}
}

func TestReadConfig(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	more := file("more.conf", "configdirectory: /conf\n")
	for name, c := range map[string]struct{ text, words string }{
		"included":    {"@include: " + more + "\npartition-a: /a\n", ""},
		"no dir":      {"partition-a: /a\n", "has no configdirectory"},
		"no settings": {"configdirectory\n", "not of the form"},
		"in a circle": {"@include: " + filepath.Join(dir, "in a circle") + "\n", "included twice"},
		"not there":   {"@include: " + dir + "/none\n", "none"},
	} {
		index, err := ofCyrus("cyrus:x", file(name, c.text), nil)
		if c.words == "" && (err != nil || len(index.Trees) != 2 || !index.Apart) || c.words != "" && (err == nil || !strings.Contains(err.Error(), c.words)) {
			t.Errorf("%s: %+v, %v", name, index, err)
		}
	}
	if index, err := IndexOf("none"); index != nil || err != nil {
		t.Errorf("%+v, %v", index, err)
	}
	if _, err := IndexOf("mbox:/x"); !errors.Is(err, errNoIndex) {
		t.Error(err)
	}
}

// FuzzConfig: whatever an imapd.conf says, nothing of the copy lies outside it.
func FuzzConfig(f *testing.F) {
	for _, s := range []string{imapdConf, "", "a", "a:\\", "partition-../x: y\nconfigdirectory: z", "metadir-/: /"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(strings.ToLower(text), "@include") {
			return
		}
		s, err := read(t, text)
		if err != nil {
			return
		}
		for _, tree := range s.trees() {
			if !filepath.IsLocal(tree.Name) || strings.ContainsAny(tree.Name, "/\\") {
				t.Errorf("a tree called %q", tree.Name)
			}
		}
		if _, err := read(t, s.moved("/keep")); err != nil {
			t.Errorf("%q: %v", s.moved("/keep"), err)
		}
	})
}

// FuzzSumLine: a line of checksums gives its file's name back.
func FuzzSumLine(f *testing.F) {
	f.Add("cyrus.index")
	f.Add("a\\b\nc\rd")
	f.Add("\\\\n")
	f.Fuzz(func(t *testing.T, name string) {
		readSumLine(name) // whatever it is
		sum := strings.Repeat("ab", 32)
		line := sumLineOf(sum, name)
		if got, back, ok := readSumLine(strings.TrimSuffix(line, "\n")); !ok || got != sum || back != name || strings.Count(line, "\n") != 1 {
			t.Errorf("%q gives %q, %q, %v", name, got, back, ok)
		}
	})
}
