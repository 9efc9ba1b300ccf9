package cyrus

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A config is what imapd.conf says, as far as it tells where things are.
type config struct {
	file string
	dir  string // configdirectory
	// partitions are by name; Cyrus takes the names of options without case.
	partitions map[string]*partition
	// hashPool: a directory of one letter stands above each name in a partition.
	// fullHash: that letter is made of the whole name.
	hashPool, fullHash bool
	// dots: the separator is a dot, and a dot in a name is shown as "^".
	dots          bool
	defaultDomain string
	deletedPrefix string
	settings      map[string]string
}

// A partition is where the files of some mailboxes are.
type partition struct {
	name                   string
	data, archive          *place // archive nil: none
	header, index, expunge *place
	cache                  string // a directory; only Options.Envelopes asks for it
}

// places are all directories of the partition, each once.
func (p *partition) places() []*place {
	var out []*place
	for _, d := range []*place{p.header, p.index, p.expunge, p.data, p.archive} {
		if d != nil && !slices.Contains(out, d) {
			out = append(out, d)
		}
	}
	return out
}

// A place is a directory that imapd.conf names.
type place struct {
	path   string
	option string
	root   *os.Root // nil where err is not
	err    error
}

// readConfig reads imapd.conf.
func readConfig(file string) (*config, error) {
	settings, err := ReadSettings(file)
	if err != nil {
		return nil, err
	}
	c := &config{file: file, settings: settings, partitions: map[string]*partition{}}
	c.dir = c.settings["configdirectory"]
	c.hashPool, c.fullHash = c.on("hashimapspool", false), c.on("fulldirhash", false)
	c.dots = !c.on("unixhierarchysep", true)
	c.defaultDomain, c.deletedPrefix = c.settings["defaultdomain"], "DELETED"
	if p := c.settings["deletedprefix"]; p != "" {
		c.deletedPrefix = p
	}
	c.findPartitions()
	if len(c.partitions) == 0 {
		return nil, fmt.Errorf("%s names no partition (partition-NAME: PATH)", file)
	}
	return c, nil
}

// on reads a switch.
func (c *config) on(name string, otherwise bool) bool {
	switch strings.ToLower(c.settings[name]) {
	case "":
		return otherwise
	case "1", "t", "true", "y", "yes", "on":
		return true
	}
	return false
}

// findPartitions sorts out which directory holds what (Cyrus, imap/mboxname.c,
// mboxname_metapath).
func (c *config) findPartitions() {
	known := map[string]*place{}
	named := func(options ...string) *place {
		for _, o := range options {
			path := c.settings[o]
			if path == "" {
				continue
			}
			path = filepath.Clean(path)
			if known[path] == nil {
				known[path] = &place{path: path, option: o}
			}
			return known[path]
		}
		return nil
	}
	apart := strings.Fields(strings.ToLower(c.settings["metapartition_files"]))
	for _, option := range slices.Sorted(maps.Keys(c.settings)) {
		name, ok := strings.CutPrefix(option, "partition-")
		if !ok || c.settings[option] == "" {
			continue
		}
		meta := func(kind string) *place {
			options := []string{option}
			if slices.Contains(apart, kind) {
				options = []string{"metapartition-" + name, option}
			}
			return named(append([]string{"metadir-" + kind + "-" + name}, options...)...)
		}
		c.partitions[name] = &partition{
			name: name, data: named(option), archive: named("archivepartition-" + name),
			header: meta("header"), index: meta("index"), expunge: meta("expunge"), cache: meta("cache").path,
		}
	}
}

// places are the directories of all partitions, each once.
func (c *config) places() []*place {
	var out []*place
	for _, name := range slices.Sorted(maps.Keys(c.partitions)) {
		for _, p := range c.partitions[name].places() {
			if !slices.Contains(out, p) {
				out = append(out, p)
			}
		}
	}
	return out
}

// partition finds one by name; mailboxes.db may name one that is gone.
func (c *config) partition(name string) *partition { return c.partitions[strings.ToLower(name)] }

// path is where a database of the configuration directory is.
func (c *config) path(option, base string) string {
	if p := c.settings[option]; p != "" {
		return filepath.Clean(p)
	}
	return filepath.Join(c.dir, base)
}

// open opens what can be opened of the partitions. It fails when nothing can.
func (c *config) open() error {
	var first error
	usable := false
	for _, p := range c.places() {
		if p.root, p.err = os.OpenRoot(p.path); p.err == nil {
			usable = true
		} else {
			// Not wrapped: that a partition is missing does not mean that a file in
			// it is.
			p.err = fmt.Errorf("%s of %s is not usable: %v", p.option, c.file, p.err)
			first = errors.Join(first, p.err)
		}
	}
	if !usable {
		return first
	}
	return nil
}

func (c *config) close() error {
	var err error
	for _, p := range c.places() {
		if p.root != nil {
			err = errors.Join(err, p.root.Close())
		}
	}
	return err
}
