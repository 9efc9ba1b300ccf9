package cyrus

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"salvor/internal/mailstore"
)

// BenchmarkNothingChanged is what a night costs where nothing has changed: all
// mailboxes of 200 users with 40,000 messages are listed, and no record is read.
func BenchmarkNothingChanged(b *testing.B) {
	dir := b.TempDir()
	var list strings.Builder
	index, err := os.ReadFile("testdata/index/v17/cyrus.index")
	if err != nil {
		b.Fatal(err)
	}
	for user := range 200 {
		for box := range 8 {
			name := fmt.Sprintf("user.u%03d.Box%d", user, box)
			if box == 0 {
				name = fmt.Sprintf("user.u%03d", user)
			}
			id := fmt.Sprintf("id%d-%d-%s", user, box, "abcdefghijkl")
			fmt.Fprintf(&list, "%s\t%%(T e I %s P default V 1795330705 A %%(u lrs))\n", name, id)
			fmt.Fprintf(&list, "I%s\t%%(T e N %s P default V 1795330705 A %%(u lrs))\n", id, name)
			at := filepath.Join(dir, "data", idDir(id))
			write(b, filepath.Join(at, indexName), index)
			write(b, filepath.Join(at, headerName), []byte("x"))
		}
	}
	text := strings.ReplaceAll(list.String(), "user.u", "Nuser.u")
	write(b, filepath.Join(dir, "conf/mailboxes.db"), []byte(strings.ReplaceAll(text, "N Nuser", "N user")))
	write(b, filepath.Join(dir, "imapd.conf"), []byte("configdirectory: "+dir+"/conf\npartition-default: "+dir+"/data\n"))
	for b.Loop() {
		src := openSource(b, filepath.Join(dir, "imapd.conf"))
		n := 0
		err := src.Users(ctx, func(u mailstore.User) error {
			return src.Mailboxes(ctx, u, func(m mailstore.Mailbox) error {
				if m.State == "" {
					return fmt.Errorf("%+v", m)
				}
				n++
				return nil
			})
		})
		if err != nil || n != 1600 {
			b.Fatal(n, err)
		}
	}
}

// BenchmarkMessages lists a mailbox of 40,000 messages, whose files are there.
func BenchmarkMessages(b *testing.B) {
	whole, err := os.ReadFile("testdata/index/v17/cyrus.index")
	if err != nil {
		b.Fatal(err)
	}
	dir := b.TempDir()
	at := filepath.Join(dir, "data/user/alice")
	write(b, filepath.Join(at, indexName), grow(whole, 40000))
	header, err := os.ReadFile("testdata/index/v17/cyrus.header")
	if err != nil {
		b.Fatal(err)
	}
	write(b, filepath.Join(at, headerName), header)
	write(b, filepath.Join(dir, "conf/mailboxes.db"), []byte("user.alice\t0 default a\n"))
	write(b, filepath.Join(dir, "imapd.conf"), []byte("configdirectory: "+dir+"/conf\npartition-default: "+dir+"/data\n"))
	src := openSource(b, filepath.Join(dir, "imapd.conf"))
	inbox := mailstore.Mailbox{User: "alice", Name: "INBOX"}
	err = src.Messages(ctx, inbox, func(m mailstore.Message) error {
		write(b, filepath.Join(at, m.Place), nil)
		return os.Truncate(filepath.Join(at, m.Place), m.Promised)
	})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		n := 0
		err := src.Messages(ctx, inbox, func(m mailstore.Message) error {
			if n++; m.ObjectID == "" && m.Expunged.IsZero() {
				return fmt.Errorf("%+v", m)
			}
			return nil
		})
		if err != nil || n != 40000 {
			b.Fatal(n, err)
		}
	}
}
