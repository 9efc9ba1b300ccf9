package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// EnvFile is the environment variable that names the configuration file.
const EnvFile = "SALVOR_CONFIG"

const systemFile = "/etc/salvor/salvor.toml"

// Places says where configuration files are looked for when none is named.
type Places struct {
	// Getenv looks up the environment, nil for os.Getenv.
	Getenv func(string) string
	// System is the machine's file, "" for /etc/salvor/salvor.toml.
	System string
}

// Find gives the file to load: the one that SALVOR_CONFIG names (which must
// then exist), else /etc/salvor/salvor.toml, else salvor/salvor.toml in
// $XDG_CONFIG_HOME (by default ~/.config), else "" for none. A file that
// exists and cannot be looked at is an error, not passed over: running without
// the operator's exclusions and retention would be worse than not running.
func (p Places) Find() (string, error) {
	getenv := p.Getenv
	if getenv == nil {
		getenv = os.Getenv
	}
	if named := getenv(EnvFile); named != "" {
		if _, err := os.Stat(named); err != nil {
			return "", fmt.Errorf("%s: %w", EnvFile, err)
		}
		return named, nil
	}
	system := p.System
	if system == "" {
		system = systemFile
	}
	for _, file := range []string{system, personal(getenv)} {
		if file == "" {
			continue
		}
		_, err := os.Stat(file)
		if err == nil {
			return file, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("look for the configuration: %w", err)
		}
	}
	return "", nil
}

// Find is Places.Find with the usual places.
func Find() (string, error) { return Places{}.Find() }

// personal is the file of the XDG Base Directory Specification; a relative
// XDG_CONFIG_HOME is invalid there and is ignored.
func personal(getenv func(string) string) string {
	dir := getenv("XDG_CONFIG_HOME")
	if !filepath.IsAbs(dir) {
		home := getenv("HOME")
		if !filepath.IsAbs(home) {
			return ""
		}
		dir = filepath.Join(home, ".config")
	}
	return filepath.Join(dir, "salvor", "salvor.toml")
}
