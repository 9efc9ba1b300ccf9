package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"salvor/internal/mailstore/stores"
)

// The environment variables that a mail server's password comes from.
const (
	envPassword     = "SALVOR_IMAP_PASSWORD"
	envPasswordFile = "SALVOR_IMAP_PASSWORD_FILE"
)

// storeOptions are those of every mail store: whose mail it is where the URL
// does not say, who is asked for, and where the password is.
func (a *app) storeOptions(alone string, users []string) stores.Options {
	return stores.Options{User: alone, Users: users, Password: a.mailPassword}
}

// mailPassword gives the password for a mail server.
func (a *app) mailPassword() ([]byte, error) {
	if p := a.getenv(envPassword); p != "" {
		return []byte(p), nil
	}
	path := a.getenv(envPasswordFile)
	if path == "" {
		return nil, errors.New("there is no password: set " + envPassword + ", or " + envPasswordFile + " to a file that holds it")
	}
	password, err := readSecret(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", envPasswordFile, err)
	}
	return password, nil
}

// readSecret reads a file's first line, which only its owner may be able to.
func readSecret(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("others than its owner may read %s (chmod 600 it)", path)
	}
	text, err := io.ReadAll(io.LimitReader(f, 64<<10))
	if err != nil {
		return nil, err
	}
	line, _, _ := bytes.Cut(text, []byte("\n"))
	if line = bytes.TrimSuffix(line, []byte("\r")); len(line) == 0 {
		return nil, fmt.Errorf("%s: its first line is empty", path)
	}
	return line, nil
}
