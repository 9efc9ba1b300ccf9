package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"salvor/internal/testenv/daemon"
)

// A client backs up one user's mail from a server, and puts it back.
type client struct {
	name    string
	version []string
	only    string // the only server that it works with; "" any
	// volatile: what it has written is lost with the power.
	volatile bool
	env      func(home string) []string
	// prepare makes what the client wants to find in its home directory.
	prepare func(home string, from *server, user string) error
	backup  func(home string, from *server, user string) []string
	// restorer makes ready to put the last backup into an empty account, and
	// gives the command line for it; nil where the client cannot.
	restorer func(home string, to *server, user string) ([]string, error)
	// held counts the messages of the backup.
	held func(home string, env []string) (int, error)
}

// clients are those that are compared.
func (s *settings) clients(owner daemon.Owner) []*client {
	all := []*client{salvorClient(s.program)}
	for _, c := range []*client{mbsync(true), mbsync(false), doveadm(owner, false), doveadm(owner, true)} {
		if _, err := exec.LookPath(c.version[0]); err != nil {
			say("no %s on this machine: left out", c.name)
			continue
		}
		all = append(all, c)
	}
	return all
}

func salvorClient(program string) *client {
	vault := func(home string) []string { return []string{"--vault", home + "/repository", "--quiet"} }
	env := func(home string) []string {
		return []string{"XDG_CONFIG_HOME=" + home + "/config", "XDG_DATA_HOME=" + home + "/data", "SALVOR_IMAP_PASSWORD=" + secret}
	}
	return &client{
		name: "salvor", version: []string{program, "version"},
		env: env,
		prepare: func(home string, _ *server, _ string) error {
			_, err := run(context.Background(), home, env(home), append([]string{program, "init"}, vault(home)...))
			return err
		},
		backup: func(home string, from *server, user string) []string {
			return append([]string{program, "backup", from.url(), "--user", user, "--include-junk"}, vault(home)...)
		},
		restorer: func(home string, to *server, user string) ([]string, error) {
			return append([]string{program, "restore", user, "--to", to.url()}, vault(home)...), nil
		},
		held: func(home string, env []string) (int, error) {
			cmd := exec.Command(program, append([]string{"status", "--json"}, vault(home)...)...)
			cmd.Env = append(clean(os.Environ()), env...)
			out, err := cmd.Output()
			if err != nil {
				return 0, fmt.Errorf("salvor status: %w", err)
			}
			var status struct {
				Messages struct {
					Live int `json:"live"`
				} `json:"messages"`
			}
			err = json.Unmarshal(out, &status)
			return status.Messages.Live, err
		},
	}
}

// mbsync mirrors into Maildirs. salvor syncs what it writes, so mbsync is
// measured with and without; in restores, which write little here, that makes no
// difference. Unless it is told not to, mbsync lets Cyrus compress what goes over
// the loopback interface, which costs eight times as much as the mail itself.
func mbsync(fsync bool) *client {
	name, sync := "mbsync", "yes"
	if !fsync {
		name, sync = "mbsync, no fsync", "no"
	}
	write := func(home, file string, at *server, user, state, options string) error {
		text := fmt.Sprintf(`FSync %s
CopyArrivalDate yes

IMAPAccount far
Host 127.0.0.1
Port %d
User %s
Pass %s
SSLType None
AuthMechs LOGIN
DisableExtension COMPRESS=DEFLATE

IMAPStore far
Account far

MaildirStore near
Path %s/mail/
Inbox %s/mail/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
%s
Expunge None
SyncState %s/%s/
`, sync, at.port, user, secret, home, home, options, home, state)
		return errors.Join(os.MkdirAll(filepath.Join(home, "mail"), 0o700), os.MkdirAll(filepath.Join(home, state), 0o700),
			os.WriteFile(filepath.Join(home, file), []byte(text), 0o600))
	}
	c := &client{
		name: name, version: []string{"mbsync", "--version"}, volatile: !fsync,
		env: func(home string) []string { return []string{"HOME=" + home} },
		prepare: func(home string, from *server, user string) error {
			return write(home, "pull.conf", from, user, "pulled", "Create Near\nSync Pull")
		},
		backup: func(home string, _ *server, _ string) []string {
			return []string{"mbsync", "-q", "-c", home + "/pull.conf", "all"}
		},
		held: heldFiles,
	}
	if fsync {
		c.restorer = func(home string, to *server, user string) ([]string, error) {
			if err := os.RemoveAll(filepath.Join(home, "pushed")); err != nil {
				return nil, err
			}
			return []string{"mbsync", "-q", "-c", home + "/push.conf", "all"}, write(home, "push.conf", to, user, "pushed", "Create Far\nSync Push")
		}
	}
	return c
}

// doveadm copies into a Maildir: from the server's own files, or over IMAP. It
// writes as the user whom the server runs mail as.
func doveadm(owner daemon.Owner, imap bool) *client {
	name := "doveadm backup"
	if imap {
		name = "doveadm imapc"
	}
	return &client{
		name: name, version: []string{"dovecot", "--version"}, only: "Dovecot",
		env: func(string) []string { return nil },
		prepare: func(home string, _ *server, _ string) error {
			return os.Chown(home, owner.UID, owner.GID)
		},
		backup: func(home string, from *server, user string) []string {
			// Without optimized, as the server runs it, nothing is synced.
			line := []string{"doveadm", "-c", from.config, "-o", "mail_fsync=optimized"}
			maildir := "maildir:" + home + "/mail"
			if !imap {
				return append(line, "backup", "-u", user, maildir)
			}
			for _, o := range []string{"mail_location=" + maildir, "imapc_host=127.0.0.1", fmt.Sprint("imapc_port=", from.port),
				"imapc_user=" + user, "imapc_password=" + secret, "imapc_features=rfc822.size fetch-headers"} {
				line = append(line, "-o", o)
			}
			return append(line, "backup", "-R", "-u", user, "imapc:")
		},
		held: heldFiles,
	}
}

// heldFiles counts the messages of Maildirs.
func heldFiles(home string, _ []string) (int, error) {
	n, _, err := size(filepath.Join(home, "mail"), func(path string) bool {
		in := filepath.Base(filepath.Dir(path))
		return (in == "cur" || in == "new") && !strings.HasPrefix(filepath.Base(path), ".")
	})
	return n, err
}
