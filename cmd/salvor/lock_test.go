package main

import (
	"bytes"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"salvor/internal/testenv/s3gw"
)

const lockBucket = "salvor-lock"

// lockWorld is a home whose vault is locked, in a bucket with the policy that
// docs/operations.md gives.
type lockWorld struct {
	*world
	server *s3gw.Server
	client *minio.Client
	url    string
	source string
	plain  []string // the environment without credentials and vault
}

func newLockWorld(t *testing.T) *lockWorld {
	w := &lockWorld{world: newWorld(t), server: s3gw.Start(t)}
	w.client, w.plain = w.server.Client(t), w.env
	w.source = "maildir:" + w.path("mail", "%u")
	w.url = w.server.URL(lockBucket, "deep")
	w.as(s3gw.Access, s3gw.Secret, w.url)
	return w
}

// as uses a credential and a URL of the vault from now on.
func (w *lockWorld) as(access, secret, url string) {
	w.env = append(slices.Clone(w.plain), "AWS_ACCESS_KEY_ID="+access, "AWS_SECRET_ACCESS_KEY="+secret, "SALVOR_VAULT="+url)
}

// setPolicy sets the policy from the manual. versitygw knows users by their
// access keys, and no condition on a header.
func (w *lockWorld) setPolicy() {
	w.t.Helper()
	manual, err := os.ReadFile("../../docs/operations.md")
	must(w.t, err)
	_, rest, _ := bytes.Cut(manual, []byte("```json\n"))
	text, _, found := bytes.Cut(rest, []byte("```"))
	if !found {
		w.t.Fatal("docs/operations.md has no policy")
	}
	policy := strings.NewReplacer("arn:aws:iam::111122223333:user/", "", "BUCKET", lockBucket, "PREFIX", "deep").Replace(string(text))
	var parsed map[string]any
	must(w.t, json.Unmarshal([]byte(policy), &parsed))
	for _, s := range parsed["Statement"].([]any) {
		delete(s.(map[string]any), "Condition")
	}
	b, err := json.Marshal(parsed)
	must(w.t, err)
	w.server.AddUser(w.t, "backup", "backup-secret")
	w.server.AddUser(w.t, "upkeep", "upkeep-secret")
	w.server.SetPolicy(w.t, lockBucket, string(b))
}

// versions lists all versions of what is not a lease.
func (w *lockWorld) versions() (all []minio.ObjectInfo) {
	w.t.Helper()
	for o := range w.client.ListObjectsIter(w.t.Context(), lockBucket, minio.ListObjectsOptions{Recursive: true, WithVersions: true}) {
		must(w.t, o.Err)
		if !strings.HasPrefix(o.Key, "deep/leases/") {
			all = append(all, o)
		}
	}
	return all
}

// TestObjectLock goes through the life of a vault with object lock on a real
// server, each host with the credential that it needs.
func TestObjectLock(t *testing.T) {
	w := newLockWorld(t)
	w.server.MakeBucket(t, "unlocked")
	w.fails(1, "the bucket has no object lock", "init", "--vault", w.server.URL("unlocked", ""), "--lock-days", "9")
	if _, err := os.Stat(w.identity()); err == nil {
		t.Error("a refused init left an identity")
	}
	var made created
	must(t, json.Unmarshal([]byte(w.run("init", "--make-bucket", "--lock-days", "9", "--json")), &made))
	if made.Lock == nil || made.Lock.Days != 9 || made.Lock.Mode != "governance" || made.Lock.RemainsDays != 7+7+9 {
		t.Errorf("init says %+v", made.Lock)
	}
	w.setPolicy()

	// Every night, through a proxy that lets nobody delete or overwrite.
	guard := s3gw.NewGuard(t, w.server.Endpoint)
	w.as("backup", "backup-secret", s3gw.URL(guard.Endpoint, lockBucket, "deep"))
	w.letters("INBOX", "", "first")
	w.run("backup", w.source)
	w.letters("INBOX", ".New", "second")
	w.run("backup", w.source)
	w.run("check", "--read-data")
	w.run("restore", "alice", "--to", "maildir:"+w.path("back"))
	w.same("alice", "back")
	if guard.Refused() == 0 {
		t.Error("the proxy refused nothing: leases are tidied, so it does not see what it should")
	}
	for _, v := range w.versions() {
		if !v.IsLatest || v.IsDeleteMarker {
			t.Errorf("a nightly run made another version of %s", v.Key)
		}
		mode, until, err := w.client.GetObjectRetention(t.Context(), lockBucket, v.Key, v.VersionID)
		if err != nil && !strings.Contains(err.Error(), "ObjectLockRetention") { // the name that versitygw gives it
			t.Errorf("%s is not locked: %v %v %v", v.Key, mode, until, err)
		}
	}

	w.attackAll()
	if out, err := w.command("check", "--read-data").CombinedOutput(); err != nil || !strings.Contains(string(out), "no damage found") ||
		!strings.Contains(string(out), "has overwritten or hidden objects") {
		t.Errorf("check after an attack: %v, %s", err, out)
	}
	w.letters("INBOX", ".Third", "third")
	w.run("backup", w.source)
	w.run("restore", "alice", "--to", "maildir:"+w.path("back2"))
	w.same("alice", "back2")
	w.run("catalog", "rebuild")
	w.run("check")

	// Copies: one in a directory, which locks nothing, and one in another bucket.
	w.server.MakeLockedBucket(t, "second")
	w.as(s3gw.Access, s3gw.Secret, w.url)
	for _, to := range []string{w.path("copy"), w.server.URL("second", "")} {
		w.run("copy", "--to", to)
		w.run("check", "--read-data", "--vault", to)
		if out := w.run("status", "--vault", to); strings.Contains(out, "lock") {
			t.Errorf("the status of a copy speaks of locks: %s", out)
		}
	}

	// Deleted mail: the locks keep it, and every command says until when.
	must(t, os.RemoveAll(w.path("mail", "alice", ".Third")))
	must(t, os.RemoveAll(w.path("mail", "alice", ".New")))
	w.as("upkeep", "upkeep-secret", w.url)
	if out := w.run("status"); !strings.Contains(out, "locks    governance, all until ") {
		t.Errorf("status does not tell of the locks: %s", out)
	}
	dry := w.command("forget", "--user", "alice", "--dry-run")
	if out, err := dry.CombinedOutput(); err != nil || !strings.Contains(string(out), "remains until") {
		t.Errorf("forget --dry-run: %v, %s", err, out)
	}
	out := w.run("forget", "--user", "alice", "--yes")
	if !strings.Contains(out, "objects that are locked in their store, until "+time.Now().Add(9*24*time.Hour).UTC().Format("2006-01-02")) {
		t.Errorf("forget does not say until when the locks keep what it forgot: %s", out)
	}
	time.Sleep(1100 * time.Millisecond)
	prune := []string{"prune", "--erase-grace", "0s"}
	if out = w.run(prune...); !strings.Contains(out, "to be erased are locked in their store") {
		t.Errorf("prune does not tell of locked objects: %s", out)
	}
	if out = w.run("status"); !strings.Contains(out, "to be erased are locked until") {
		t.Errorf("status does not count locked objects: %s", out)
	}

	// An administrator ends the locks of the packs early.
	packs := w.endLocks("deep/packs/")
	w.as("backup", "backup-secret", w.url)
	w.fails(1, "access denied", prune...)
	w.as("upkeep", "upkeep-secret", w.url)
	w.run(prune...)
	left := 0
	for _, v := range w.versions() {
		if strings.HasPrefix(v.Key, "deep/packs/") && packs[v.Key] {
			left++
			t.Errorf("%s is still there", v.Key)
		}
	}
	w.run("check", "--read-data")
}

// attackAll puts junk and a delete marker on top of every locked object.
func (w *lockWorld) attackAll() {
	w.t.Helper()
	for _, v := range w.versions() {
		_, err := w.client.PutObject(w.t.Context(), lockBucket, v.Key, strings.NewReader("gone"), 4, minio.PutObjectOptions{})
		must(w.t, err)
		if strings.HasSuffix(v.Key, "config") || len(v.Key)%2 == 0 {
			must(w.t, w.client.RemoveObject(w.t.Context(), lockBucket, v.Key, minio.RemoveObjectOptions{}))
		}
	}
}

// endLocks ends the locks below a prefix of keys, and gives these keys.
func (w *lockWorld) endLocks(prefix string) map[string]bool {
	w.t.Helper()
	keys := map[string]bool{}
	mode, soon := minio.Governance, time.Now().Add(time.Second)
	for _, v := range w.versions() {
		if !strings.HasPrefix(v.Key, prefix) || v.IsDeleteMarker {
			continue
		}
		keys[v.Key] = true
		must(w.t, w.client.PutObjectRetention(w.t.Context(), lockBucket, v.Key,
			minio.PutObjectRetentionOptions{Mode: &mode, RetainUntilDate: &soon, VersionID: v.VersionID, GovernanceBypass: true}))
	}
	time.Sleep(5 * time.Second) // the server counts in whole seconds, and salvor allows for that
	return keys
}
