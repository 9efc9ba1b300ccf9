package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"salvor/internal/testenv/s3gw"
)

// TestSpreadOverDisksAndBucket lays a vault over two directories and a bucket,
// whose keys only the configuration file names; the server goes away and comes
// back, and at last a directory is mounted elsewhere.
func TestSpreadOverDisksAndBucket(t *testing.T) {
	server := s3gw.Start(t)
	w := newWorld(t)
	bucket := server.URL("salvor-spread", "mail")
	keys := "[default]\naws_access_key_id = " + s3gw.Access + "\naws_secret_access_key = " + s3gw.Secret + "\n"
	must(t, os.WriteFile(w.path("keys"), []byte(keys), 0o600))
	must(t, os.WriteFile(w.path("salvor.toml"), []byte("vault = \""+w.path("a")+"\"\n[targets.\""+strings.Split(bucket, "?")[0]+"\"]\n"+
		"credentials-file = \""+w.path("keys")+"\"\n[targets.\""+w.path("b")+"\"]\nurl = \""+w.path("elsewhere")+"\"\n"), 0o600))
	w.env = append(w.env, "SALVOR_CONFIG="+w.path("salvor.toml"))
	source := "maildir:" + w.path("mail", "%u")
	w.letters("INBOX", "", "hello")

	must(t, os.Symlink(w.path("b"), w.path("elsewhere"))) // until it moves
	w.fails(10, "bucket", "init", "--parity", "2+1", "--target", w.path("a"), "--target", w.path("b"), "--target", bucket)
	must(t, os.RemoveAll(w.path("a")))
	must(t, os.RemoveAll(w.path("b")))
	w.run("init", "--make-bucket", "--parity", "2+1", "--target", w.path("a"), "--target", w.path("b"), "--target", bucket)
	w.run("backup", source)
	w.run("check", "--read-data")

	server.Stop(t)
	w.letters("INBOX", ".New", "again")
	w.fails(3, "degraded: 1 target is away", "backup", source)
	w.run("restore", "alice", "--to", "maildir:"+w.path("back"))
	w.same("alice", "back")
	server.Restart(t)
	if out := w.run("check", "--repair"); !strings.Contains(out, "repaired: commits/") || !strings.Contains(out, "on target s3://salvor-spread/mail") {
		t.Errorf("repair: %s", out)
	}
	w.run("check", "--read-data")

	// The second directory is mounted where the configuration says, and the
	// first one, by which the vault is named, is lost.
	must(t, os.Remove(w.path("elsewhere")))
	must(t, os.Rename(w.path("b"), w.path("elsewhere")))
	w.run("backup", source)
	must(t, os.RemoveAll(w.path("a")))
	w.fails(3, "degraded: 1 target is away", "backup", source)
	must(t, os.Mkdir(w.path("a"), 0o700))
	w.run("check", "--repair")
	w.run("check", "--read-data")
	w.run("backup", source)
	if packs, err := filepath.Glob(w.path("a", "packs", "*", "*")); err != nil || len(packs) == 0 {
		t.Errorf("the new disk holds %v, %v", packs, err)
	}
}
