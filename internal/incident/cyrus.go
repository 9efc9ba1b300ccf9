package incident

import (
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"salvor/internal/mailstore"
	"salvor/internal/mailstore/cyrus"
)

// cyrusConf is the file of a copy that names its directories.
const cyrusConf = "imapd.conf"

// ofCyrus is the index of a Cyrus server: what its imapd.conf names as
// configuration directory and partitions, without the messages. open opens a
// Cyrus by the path of such a file.
func ofCyrus(url, file string, open func(file string) (mailstore.Source, error)) (*Index, error) {
	read, err := cyrus.ReadSettings(file)
	if err != nil {
		return nil, fmt.Errorf("read the configuration of Cyrus: %w", err)
	}
	s := settings(read)
	return &Index{
		URL:   url,
		Trees: s.trees(),
		Files: func(dir string) map[string]string { return map[string]string{cyrusConf: s.moved(dir)} },
		Open: func(dir string) (mailstore.Source, error) {
			if dir == "" {
				return open(file)
			}
			return open(filepath.Join(dir, cyrusConf))
		},
		Apart: true,
	}, nil
}

// settings are those of imapd.conf, by name in lower case.
type settings map[string]string

// placed tells whether an option names a directory of mail or metadata.
func placed(option string) bool {
	if strings.ContainsAny(option, "/\\") {
		return false // no partition has such a name
	}
	for _, prefix := range []string{"partition-", "metapartition-", "archivepartition-", "metadir-"} {
		if strings.HasPrefix(option, prefix) && option != "metapartition_files" {
			return true
		}
	}
	return false
}

// databases are options that name a file outside of the configuration directory.
var databases = []string{"annotation_db_path", "mboxlist_db_path", "quota_db_path"}

// busy are directories of the running server; nothing in them outlives it.
var busy = []string{"lock", "log", "msg", "proc", "ptclient", "socket"}

// trees are what is copied: the configuration directory, and of the partitions
// the files called cyrus.*. One that can hold none is not even looked into: it
// may be on the disk that is dying.
func (s settings) trees() []Tree {
	out := []Tree{{Name: "configdirectory", Dir: s["configdirectory"], Skip: func(p string) bool { return slices.Contains(busy, p) }}}
	metadata := func(p string) bool { return strings.HasPrefix(path.Base(p), "cyrus.") }
	for _, option := range slices.Sorted(maps.Keys(s)) {
		if !placed(option) || s[option] == "" {
			continue
		}
		t := Tree{Name: option, Dir: s[option], Keep: metadata}
		name, data := strings.CutPrefix(option, "partition-")
		if strings.HasPrefix(option, "archivepartition-") || data && s.apart(name) {
			t.Dir = ""
		}
		out = append(out, t)
	}
	for _, option := range databases {
		if file := s[option]; file != "" {
			only := filepath.Base(file)
			out = append(out, Tree{Name: option, Dir: filepath.Dir(file), Keep: func(p string) bool { return p == only },
				Skip: func(p string) bool { return p != "." }})
		}
	}
	return out
}

// apart tells whether a partition's metadata is all kept apart from its
// messages (Cyrus, imap/mboxname.c, mboxname_metapath).
func (s settings) apart(partition string) bool {
	moved := strings.Fields(strings.ToLower(s["metapartition_files"]))
	for _, kind := range []string{"header", "index", "cache", "expunge"} {
		if s["metadir-"+kind+"-"+partition] == "" && (s["metapartition-"+partition] == "" || !slices.Contains(moved, kind)) {
			return false
		}
	}
	return true
}

// plain are settings that say how names and places are built. Others, some of
// which are secrets, are not copied.
var plain = []string{"altnamespace", "annotation_db", "defaultdomain", "defaultpartition", "deletedprefix", "fulldirhash", "hashimapspool",
	"mailbox_legacy_dirs", "mboxlist_db", "metapartition_files", "quota_db", "sharedprefix", "unixhierarchysep", "userprefix", "virtdomains"}

// moved is the imapd.conf of a copy.
func (s settings) moved(dir string) string {
	var b strings.Builder
	for _, option := range slices.Sorted(maps.Keys(s)) {
		value := s[option]
		switch {
		case value == "":
			continue
		case option == "configdirectory" || placed(option):
			value = filepath.Join(dir, option)
		case slices.Contains(databases, option):
			value = filepath.Join(dir, option, filepath.Base(value))
		case !slices.Contains(plain, option):
			continue
		}
		fmt.Fprintf(&b, "%s: %s\n", option, value)
	}
	return b.String()
}
