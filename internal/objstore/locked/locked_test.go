package locked

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"salvor/internal/objstore/object"
	"salvor/internal/objstore/s3"
	"salvor/internal/objstore/storetest"
	"salvor/internal/testenv/s3gw"
)

// world is a bucket with object lock, the store over it, and what somebody with
// the keys to the bucket can do.
type world struct {
	*testing.T
	server *s3gw.Server
	under  *s3.Store
	store  *Store
	client *minio.Client
}

const bucket = "locked"

func newWorld(t *testing.T, mode object.LockMode) *world {
	w := &world{T: t, server: s3gw.Start(t)}
	s3gw.SetKeys(t, s3gw.Access, s3gw.Secret)
	under, err := s3.Open(t.Context(), w.server.URL(bucket, "p"), s3.Options{Create: true, Lock: true, Patience: 5 * time.Second})
	w.must(err)
	w.under, w.client = under, w.server.Client(t)
	w.store = w.over(under, mode, time.Hour)
	return w
}

// over lays a store over the bucket whose names below hash/ are hashes, whose
// names below free/ are not locked.
func (w *world) over(under object.Store, mode object.LockMode, life time.Duration) *Store {
	s, ok := New(under, Rules{Mode: mode, For: life,
		Locked: func(name string) bool { return !strings.HasPrefix(name, "free/") },
		Sum: func(name string) (sum [32]byte, ok bool) {
			digits, ok := strings.CutPrefix(name, "hash/")
			n, err := hex.Decode(sum[:], []byte(digits))
			return sum, ok && err == nil && n == len(sum)
		}})
	if !ok {
		w.Fatal("the store cannot lock")
	}
	return s
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// attack puts a version on top of a name, or a marker where body is nil.
func (w *world) attack(name string, body []byte) {
	w.Helper()
	var err error
	if body == nil {
		err = w.client.RemoveObject(w.Context(), bucket, "p/"+name, minio.RemoveObjectOptions{})
	} else {
		_, err = w.client.PutObject(w.Context(), bucket, "p/"+name, bytes.NewReader(body), int64(len(body)), minio.PutObjectOptions{})
	}
	w.must(err)
}

// holds fails unless a name has these bytes, by Get, Stat and List, for a
// reader that knows the store and for a new one.
func (w *world) holds(name, want string) {
	w.Helper()
	for _, s := range []*Store{w.store, w.over(w.under, w.store.rules.Mode, time.Hour)} {
		got, err := s.Get(w.Context(), name, 0, -1)
		if err != nil || string(got) != want {
			w.Errorf("%s is %.40q (%v), want %.40q", name, got, err, want)
		}
		info, err := s.Stat(w.Context(), name)
		if err != nil || info.Size != int64(len(want)) {
			w.Errorf("stat %s: %d bytes (%v), want %d", name, info.Size, err, len(want))
		}
		found := 0
		w.must(s.List(w.Context(), "", func(i object.Info) error {
			if i.Name == name && i.Size == int64(len(want)) {
				found++
			}
			return nil
		}))
		if found != 1 {
			w.Errorf("%s is listed %d times", name, found)
		}
	}
}

func hashName(body string) string { return fmt.Sprintf("hash/%x", sha256.Sum256([]byte(body))) }

// TestConformance: what a store promises, this one does too. The bucket has no
// versions, because with them versitygw 1.8 does not create an object anew whose
// last version was deleted (it finds the old ETag in its sidecar).
func TestConformance(t *testing.T) {
	n := 0
	w := newWorld(t, object.Governance)
	w.server.MakeBucket(t, "plain")
	storetest.Run(t, func(t *testing.T) object.Store {
		n++
		under, err := s3.Open(t.Context(), w.server.URL("plain", fmt.Sprint("c", n)), s3.Options{})
		if err != nil {
			t.Fatal(err)
		}
		s, _ := New(under, Rules{Mode: object.Governance, For: time.Hour, Sum: func(string) (sum [32]byte, ok bool) { return sum, false },
			Locked: func(name string) bool { return false }})
		return s
	})
}

// TestTakenAway overwrites and hides objects with the root's own keys. What was
// there first stays what the names stand for.
func TestTakenAway(t *testing.T) {
	for _, mode := range []object.LockMode{object.Governance, object.Compliance} {
		t.Run(string(mode), func(t *testing.T) {
			w := newWorld(t, mode)
			ctx := t.Context()
			pack := hashName("a pack")
			for name, body := range map[string]string{pack: "a pack", "commits/1": "a commit"} {
				w.must(w.store.Put(ctx, name, []byte(body)))
				w.holds(name, body)
				w.attack(name, []byte("something else"))
				w.holds(name, body)
				w.attack(name, nil)
				w.holds(name, body)
				w.must(w.store.Put(ctx, name, []byte(body))) // once more is success
				w.attack(name, []byte("and again"))
				w.holds(name, body)
			}
			if err := w.store.Put(ctx, "commits/1", []byte("another commit")); !errors.Is(err, object.ErrExists) {
				t.Errorf("a commit on top of a hidden one: %v, want ErrExists", err)
			}
			w.attack("commits/1", nil)
			if err := w.store.Put(ctx, "commits/1", []byte("another commit")); !errors.Is(err, object.ErrExists) {
				t.Errorf("a commit over a marker: %v, want ErrExists", err)
			}
			w.holds("commits/1", "a commit")
			if err := w.store.Prove(ctx, pack); err != nil {
				t.Errorf("Prove: %v", err)
			}
			for v := range w.client.ListObjectsIter(ctx, bucket, minio.ListObjectsOptions{Recursive: true, WithVersions: true}) {
				if err := w.client.RemoveObject(ctx, bucket, v.Key, minio.RemoveObjectOptions{VersionID: v.VersionID}); err == nil && v.Size == int64(len("a pack")) {
					t.Errorf("a locked version of %s could be deleted", v.Key)
				}
			}
			w.holds(pack, "a pack")
			w.holds("commits/1", "a commit")
		})
	}
}

// TestBuriedName finds junk under a name that is a hash: the good bytes go on
// top, and count.
func TestBuriedName(t *testing.T) {
	w := newWorld(t, object.Governance)
	name := hashName("good")
	w.attack(name, []byte("junk"))
	w.holds(name, "junk") // it is all there is; the reader sees that it is damaged
	w.must(w.store.Put(t.Context(), name, []byte("good")))
	w.holds(name, "good")
}

// TestDelete erases every version when its lock is over, and says until when
// what is locked stays.
func TestDelete(t *testing.T) {
	w := newWorld(t, object.Governance)
	ctx := t.Context()
	start := time.Now()
	w.store = w.over(w.under, object.Governance, 3*time.Second)
	name := hashName("short")
	w.must(w.store.Put(ctx, name, []byte("short")))
	w.attack(name, []byte("junk"))
	w.attack(name, nil)
	var retained *object.RetainedError
	if err := w.store.Delete(ctx, name); !errors.As(err, &retained) || retained.Until.After(start.Add(4*time.Second)) {
		t.Fatalf("delete what is locked: %v", err)
	}
	w.holds(name, "short")
	if n := w.versions(name); n != 1 {
		t.Errorf("%d versions are left, want the locked one", n)
	}
	until, err := w.store.Retained(ctx, name)
	if err != nil || until != retained.Until {
		t.Errorf("it stays until %v (%v), want %v", until, err, retained.Until)
	}
	time.Sleep(time.Until(until.Add(time.Second))) // the store's clock has whole seconds
	w.must(w.store.Delete(ctx, name))
	w.must(w.store.Delete(ctx, name))
	if n := w.versions(name); n != 0 {
		t.Errorf("%d versions are left", n)
	}
	if _, err := w.store.Get(ctx, name, 0, -1); !errors.Is(err, object.ErrNotExist) {
		t.Errorf("get what is erased: %v", err)
	}

	// What is not locked goes at once, with all its versions.
	w.must(w.store.Put(ctx, "free/lease", []byte("x")))
	w.attack("free/lease", []byte("y"))
	w.must(w.store.Delete(ctx, "free/lease"))
	if n := w.versions("free/lease"); n != 0 {
		t.Errorf("%d versions of an object without a lock are left", n)
	}
}

func (w *world) versions(name string) int {
	all, err := w.store.versions(w.Context(), name)
	w.must(err)
	return len(all)
}

// TestExtend extends in several goes, leaves out what nobody needs, and the
// versions on top.
func TestExtend(t *testing.T) {
	w := newWorld(t, object.Compliance)
	ctx, start := t.Context(), time.Now()
	names := []string{"commits/1", "commits/2", hashName("dead"), hashName("live")}
	for i, body := range []string{"1", "2", "dead", "live"} {
		w.must(w.store.Put(ctx, names[i], []byte(body)))
	}
	w.must(w.store.Put(ctx, "free/lease", []byte("x")))
	w.attack("commits/2", []byte("junk"))
	o := Extension{Until: start.Add(5 * time.Hour), Limit: 2, Keep: func(name string) bool { return name != names[2] }}
	first, err := w.store.Extend(ctx, o)
	if err != nil || first.Objects != 2 || first.Left != 1 || first.Next == "" {
		t.Fatalf("first: %+v, %v", first, err)
	}
	o.From = first.Next
	second, err := w.store.Extend(ctx, o)
	if err != nil || second != (Extended{Objects: 1}) {
		t.Fatalf("second: %+v, %v", second, err)
	}
	for i, name := range names {
		v, err := w.store.find(ctx, name)
		w.must(err)
		l, err := w.under.LockOf(ctx, v)
		want := o.Until
		if i == 2 {
			want = start.Add(time.Hour)
		}
		if err != nil || l.Mode != object.Compliance || l.Until.Sub(want).Abs() > 3*time.Second {
			t.Errorf("%s is locked until %v (%v), want %v", name, l.Until, err, want)
		}
	}
	all, err := w.store.versions(ctx, "commits/2")
	w.must(err)
	if l, err := w.under.LockOf(ctx, all[0]); err != nil || !l.Until.IsZero() {
		t.Errorf("what somebody put on top is locked too: %v, %v", l, err)
	}
	o.From, o.Before = "", start.Add(-time.Minute)
	if third, err := w.store.Extend(ctx, o); err != nil || third.Objects != 0 {
		t.Errorf("extend none: %+v, %v", third, err)
	}
}

// TestManyVersions lists more of them than fit into one answer.
func TestManyVersions(t *testing.T) {
	w := newWorld(t, object.Governance)
	w.must(w.store.Put(t.Context(), "commits/1", []byte("first")))
	for i := range 30 {
		w.attack("commits/1", fmt.Appendf(nil, "junk %d", i))
	}
	w.holds("commits/1", "first")
	if _, err := w.store.Get(context.Background(), "commits/2", 0, -1); !errors.Is(err, object.ErrNotExist) {
		t.Errorf("get what is not there: %v", err)
	}
}
