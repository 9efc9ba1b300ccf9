package cyrus

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"
)

// Limits of what is believed of a configuration.
const (
	maxConfig   = 1 << 20 // bytes of one file
	maxIncludes = 16
)

// ReadSettings reads an imapd.conf and what it includes (Cyrus,
// lib/libconfig.c, config_read_file): settings by name in lower case, among
// which there is a configdirectory.
func ReadSettings(file string) (map[string]string, error) {
	settings := map[string]string{}
	if err := readSettings(settings, file, map[string]bool{}); err != nil {
		return nil, err
	}
	if settings["configdirectory"] == "" {
		return nil, fmt.Errorf("%s has no configdirectory", file)
	}
	return settings, nil
}

func readSettings(settings map[string]string, file string, seen map[string]bool) error {
	if seen[file] || len(seen) >= maxIncludes {
		return fmt.Errorf("%s is included twice, or too many files are", file)
	}
	seen[file] = true
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	in := bufio.NewScanner(io.LimitReader(f, maxConfig))
	in.Buffer(nil, maxConfig)
	for n := 1; in.Scan(); n++ {
		line := in.Text()
		for strings.HasSuffix(line, `\`) && in.Scan() {
			line, n = line[:len(line)-1]+in.Text(), n+1
		}
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return fmt.Errorf("%s: line %d is not of the form NAME: VALUE", file, n)
		}
		name, value = strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(value)
		if name == "@include" {
			err = readSettings(settings, value, seen)
		} else {
			settings[name] = value
		}
		if err != nil {
			return err
		}
	}
	if err := in.Err(); err != nil {
		return fmt.Errorf("read %s: %w", file, err)
	}
	return nil
}
