package imap

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"

	"salvor/internal/mailstore/imap/wire"
)

// secrets knows who logs in for whom.
type secrets struct {
	o     *Options
	users []string          // of the password file, in its order
	words map[string]string // passwords by user
}

const maxSecretFile = 16 << 20

func readSecrets(o *Options) (*secrets, error) {
	s := &secrets{o: o, words: map[string]string{}}
	if o.PasswordFile != "" {
		if err := s.readPasswords(o.PasswordFile); err != nil {
			return nil, fmt.Errorf("password file: %w", err)
		}
	}
	if o.TokenFile != "" {
		if _, err := readPrivate(o.TokenFile); err != nil {
			return nil, fmt.Errorf("token file: %w", err)
		}
	}
	if o.User == "" && len(s.users) == 0 {
		return nil, fmt.Errorf("password file %s: it names no users", o.PasswordFile)
	}
	return s, nil
}

// readPrivate reads a file that nobody but its owner may read.
func readPrivate(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file", path)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("others than its owner may read %s (chmod 600 it)", path)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxSecretFile+1))
	if err == nil && len(b) > maxSecretFile {
		err = fmt.Errorf("%s is larger than %d bytes", path, maxSecretFile)
	}
	return b, err
}

// readPasswords reads lines of user:password; those that are empty or begin
// with # are passed over.
func (s *secrets) readPasswords(path string) error {
	text, err := readPrivate(path)
	if err != nil {
		return err
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSuffix(lines.Text(), "\r")
		if line == "" || line[0] == '#' {
			continue
		}
		user, word, ok := strings.Cut(line, ":")
		if !ok || user == "" {
			return fmt.Errorf("%s, line %d: it is not of the form user:password", path, n)
		}
		if _, twice := s.words[user]; twice {
			return fmt.Errorf("%s, line %d: %q stands there twice", path, n, user)
		}
		s.users = append(s.users, user)
		s.words[user] = word
	}
	return lines.Err()
}

// of gives the credentials with which the user's mail is opened.
func (s *secrets) of(user string) (wire.Credentials, error) {
	cr := wire.Credentials{Mechanism: s.o.Mechanism, User: user, Separator: s.o.Separator}
	if s.o.User != "" {
		cr.User, cr.As = s.o.User, user
	}
	switch word, ok := s.words[cr.User]; {
	case s.o.TokenFile != "":
		// A token is good for an hour or so: whoever renews it writes the file anew.
		token, err := readPrivate(s.o.TokenFile)
		if err != nil {
			return cr, fmt.Errorf("token file: %w", err)
		}
		cr.Secret = string(bytes.TrimSpace(token))
	case len(s.o.Password) > 0:
		cr.Secret = string(s.o.Password)
	case ok:
		cr.Secret = word
	default:
		return cr, fmt.Errorf("there is no password for %q (add it to the password file)", cr.User)
	}
	return cr, nil
}
