package main

import (
	"os"
	"strings"
	"testing"

	"salvor/internal/testenv/s3gw"
)

// TestS3 does the main job on a bucket of a real server, and meets what goes
// wrong there: wrong credentials, a bucket that is not there, a server that is
// away. The vault stays as it is.
func TestS3(t *testing.T) {
	server := s3gw.Start(t)
	w := newWorld(t)
	w.env = append(w.env, "AWS_ACCESS_KEY_ID="+s3gw.Access, "AWS_SECRET_ACCESS_KEY="+s3gw.Secret)
	url := server.URL("salvor-cmd", "deep/er")
	w.env = append(w.env, "SALVOR_VAULT="+url)
	w.letters("INBOX", "", "hello")
	source := "maildir:" + w.path("mail", "%u")
	w.fails(10, "no vault", "backup", source)
	w.fails(10, "bucket", "init") // a misspelled name makes no bucket
	w.run("init", "--make-bucket")
	w.run("backup", source)
	w.run("prune")
	w.run("check", "--read-data")
	w.run("restore", "alice", "--to", "maildir:"+w.path("back"))
	w.same("alice", "back")

	// From a bucket to a directory and to another place in a bucket.
	for _, to := range []string{w.path("copy"), server.URL("salvor-cmd", "second")} {
		w.run("copy", "--to", to)
		w.run("check", "--read-data", "--vault", to)
	}
	w.run("copy", "--vault", w.path("copy"), "--to", server.URL("salvor-cmd", "third"))
	w.fails(10, "bucket", "copy", "--to", server.URL("nobucket", ""))

	// The keys may come from a file that the configuration names.
	credentials := "[default]\naws_access_key_id = " + s3gw.Access + "\naws_secret_access_key = " + s3gw.Secret + "\n"
	must(t, os.WriteFile(w.path("keys"), []byte(credentials), 0o600))
	must(t, os.WriteFile(w.path("salvor.toml"), []byte("[targets.\""+strings.Split(url, "?")[0]+"\"]\ncredentials-file = \""+w.path("keys")+"\"\n"), 0o600))
	right := w.env
	w.env = append(w.env, "AWS_ACCESS_KEY_ID=", "AWS_SECRET_ACCESS_KEY=")
	w.run("--config", w.path("salvor.toml"), "ls", "alice")

	w.env = append(right, "AWS_SECRET_ACCESS_KEY=wrong")
	said := w.fails(1, "denied", "backup", source)
	if strings.Contains(said, s3gw.Secret) || strings.Contains(said, "wrong") {
		t.Errorf("the error shows a secret: %s", said)
	}
	w.env = right
	w.fails(10, "", "--vault", server.URL("nobucket", ""), "status")

	server.Stop(t)
	w.fails(1, "unavailable", "backup", source)
	if out := w.run("ls", "alice"); !strings.Contains(out, "hello") {
		t.Errorf("the catalog does not answer while the vault is away: %s", out)
	}
	server.Restart(t)
	w.letters("INBOX", ".New", "again")
	w.run("backup", source)
	w.run("check", "--read-data")
	w.run("restore", "alice", "--to", "maildir:"+w.path("back"))
	w.same("alice", "back")
}

// fails runs salvor, which must end with the code and say the words in one line.
func (w *world) fails(code int, words string, args ...string) string {
	w.t.Helper()
	out, err := w.command(args...).CombinedOutput()
	said := string(out)
	if got := exitOf(err); got != code {
		w.t.Fatalf("salvor %q: exit %d, want %d: %s", args, got, code, said)
	}
	if !strings.Contains(said, words) || strings.Count(said, "salvor: ")-strings.Count(said, "salvor: warning: ") != 1 {
		w.t.Errorf("salvor %q does not say %q in one line: %s", args, words, said)
	}
	return said
}

// same compares a user's mail with a restored Maildir.
func (w *world) same(user, restored string) {
	w.t.Helper()
	want, err := listMaildir(w.path("mail", user), []string{".Junk"})
	must(w.t, err)
	got, err := listMaildir(w.path(restored), nil)
	must(w.t, err)
	if diff := difference(want, got); diff != "" {
		w.t.Errorf("%s: %d messages of %s at the source, %d restored: %s", restored, len(want), user, len(got), diff)
	}
}
