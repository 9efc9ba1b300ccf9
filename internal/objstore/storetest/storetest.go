// Package storetest is the conformance suite of object stores: what
// object.Store promises, as tests. A new store passes Run; nothing else makes
// it one. Faults (power cuts, servers that go away) are tested beside each
// store, because they look different everywhere.
package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"salvor/internal/objstore/object"
)

// Run runs the suite. open returns a store that is empty each time and lives
// at least as long as the test.
func Run(t *testing.T, open func(t *testing.T) object.Store) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, object.Store)
	}{
		{"PutGet", testPutGet},
		{"PutTwice", testPutTwice},
		{"Ranges", testRanges},
		{"Sizes", testSizes},
		{"List", testList},
		{"ListEmpty", testListEmpty},
		{"ListMany", testListMany},
		{"ListStops", testListStops},
		{"ListWhileDeleting", testListWhileDeleting},
		{"Delete", testDelete},
		{"Missing", testMissing},
		{"BadNames", testBadNames},
		{"GoodNames", testGoodNames},
		{"RaceOtherBytes", testRaceOtherBytes},
		{"RaceSameBytes", testRaceSameBytes},
		{"ConcurrentPuts", testConcurrentPuts},
		{"Cancelled", testCancelled},
		{"StatAndClock", testStatAndClock},
		{"Space", testSpace},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
}

// Bytes returns n bytes that do not compress and depend only on seed.
func Bytes(seed uint64, n int) []byte {
	var key [32]byte
	key[0], key[1], key[2] = byte(seed), byte(seed>>8), byte(seed>>16)
	b := make([]byte, n)
	// ChaCha8.Read never fails.
	_, _ = rand.NewChaCha8(key).Read(b)
	return b
}

func put(t *testing.T, s object.Store, name string, body []byte) {
	t.Helper()
	if err := s.Put(t.Context(), name, body); err != nil {
		t.Fatalf("Put: %v", err)
	}
}

func wantObject(t *testing.T, s object.Store, name string, body []byte) {
	t.Helper()
	got, err := s.Get(t.Context(), name, 0, -1)
	if err != nil {
		t.Errorf("Get: %v", err)
	} else if !bytes.Equal(got, body) {
		t.Errorf("Get %s gave %d bytes, which are not the %d that were put", name, len(got), len(body))
	}
}

// wantError checks that err is want and names the operation's object.
func wantError(t *testing.T, err, want error, name string) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: error %v, want %v", name, err, want)
		return
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("error of more than one line: %q", err)
	}
}

func names(t *testing.T, s object.Store, prefix string) []string {
	t.Helper()
	all := []string{}
	err := s.List(t.Context(), prefix, func(i object.Info) error {
		all = append(all, i.Name)
		return nil
	})
	if err != nil {
		t.Fatalf("List %q: %v", prefix, err)
	}
	return all
}

func wantNames(t *testing.T, s object.Store, prefix string, want ...string) {
	t.Helper()
	if got := names(t, s, prefix); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("List %q:\n got %q\nwant %q", prefix, got, want)
	}
}

func testPutGet(t *testing.T, s object.Store) {
	put(t, s, "packs/ab/one", []byte("one"))
	put(t, s, "two", []byte("two"))
	wantObject(t, s, "packs/ab/one", []byte("one"))
	wantObject(t, s, "two", []byte("two"))
	wantNames(t, s, "", "packs/ab/one", "two")
}

func testPutTwice(t *testing.T, s object.Store) {
	body := []byte("the first bytes")
	put(t, s, "commits/1", body)
	put(t, s, "commits/1", bytes.Clone(body))
	for _, other := range []string{"other bytes ...", "", "the first byte", "the first bytes!"} {
		err := s.Put(t.Context(), "commits/1", []byte(other))
		wantError(t, err, object.ErrExists, "Put of "+other)
		if err != nil && !strings.Contains(err.Error(), "commits/1") {
			t.Errorf("the error does not name the object: %v", err)
		}
	}
	wantObject(t, s, "commits/1", body)
	wantNames(t, s, "", "commits/1")
}

func testRanges(t *testing.T, s object.Store) {
	body := Bytes(1, 10000)
	put(t, s, "r", body)
	for _, r := range []struct {
		off, n int64
		want   []byte
		err    error
	}{
		{0, -1, body, nil},
		{0, 10000, body, nil},
		{0, 1, body[:1], nil},
		{9999, 1, body[9999:], nil},
		{5000, 100, body[5000:5100], nil},
		{5000, -1, body[5000:], nil},
		{0, 0, nil, nil},
		{10000, 0, nil, nil},
		{10000, -1, nil, nil},
		{0, 10001, nil, io.ErrUnexpectedEOF},
		{9999, 2, nil, io.ErrUnexpectedEOF},
		{10000, 1, nil, io.ErrUnexpectedEOF},
		{10001, -1, nil, io.ErrUnexpectedEOF},
		{10001, 0, nil, io.ErrUnexpectedEOF},
		{20000, 5, nil, io.ErrUnexpectedEOF},
		{-1, 5, nil, object.ErrName},
		{0, object.MaxSize + 1, nil, object.ErrName},
	} {
		got, err := s.Get(t.Context(), "r", r.off, r.n)
		if !errors.Is(err, r.err) || !bytes.Equal(got, r.want) {
			t.Errorf("Get(%d, %d): %d bytes, error %v; want %d bytes, error %v", r.off, r.n, len(got), err, len(r.want), r.err)
		}
		if err != nil && got != nil {
			t.Errorf("Get(%d, %d): bytes with an error", r.off, r.n)
		}
	}
	wantError(t, second(s.Get(t.Context(), "none", 0, 0)), object.ErrNotExist, "Get of nothing of nothing")
}

func second[T any](_ T, err error) error { return err }

func testSizes(t *testing.T, s object.Store) {
	for _, n := range []int{0, 1, 4095, 4096, 65537, 33 << 20} {
		name := fmt.Sprintf("size-%d", n)
		body := Bytes(uint64(n), n)
		put(t, s, name, body)
		put(t, s, name, body)
		wantObject(t, s, name, body)
		if n > 0 {
			body[n-1] ^= 1
			wantError(t, s.Put(t.Context(), name, body), object.ErrExists, "Put with the last bit flipped")
		}
	}
	err := s.List(t.Context(), "", func(i object.Info) error {
		if want := fmt.Sprintf("size-%d", i.Size); i.Name != want {
			t.Errorf("%s is listed with %d bytes", i.Name, i.Size)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func testDelete(t *testing.T, s object.Store) {
	put(t, s, "a/b", []byte("x"))
	for range 2 { // the second time it is not there
		if err := s.Delete(t.Context(), "a/b"); err != nil {
			t.Fatalf("Delete: %v", err)
		}
		wantNames(t, s, "")
	}
	if err := s.Delete(t.Context(), "never/was/there"); err != nil {
		t.Errorf("Delete of what was never there: %v", err)
	}
	wantError(t, second(s.Get(t.Context(), "a/b", 0, -1)), object.ErrNotExist, "Get after Delete")
	put(t, s, "a/b", []byte("other"))
	wantObject(t, s, "a/b", []byte("other"))
}

func testMissing(t *testing.T, s object.Store) {
	put(t, s, "file", []byte("x"))
	for _, name := range []string{"none", "no/such/directory", "fil", "file0"} {
		wantError(t, second(s.Get(t.Context(), name, 0, -1)), object.ErrNotExist, "Get "+name)
		wantError(t, second(s.Get(t.Context(), name, 5, 10)), object.ErrNotExist, "Get of a part of "+name)
		if st, ok := s.(object.Stater); ok {
			wantError(t, second(st.Stat(t.Context(), name)), object.ErrNotExist, "Stat "+name)
		}
	}
}

func testBadNames(t *testing.T, s object.Store) {
	for _, name := range []string{"", "..", "../x", "a/../../x", "/etc/passwd", "a//b", "a/", ".tmp/x", "A", "a b", "a\x00b", "a\nb",
		strings.Repeat("x", object.MaxName+1)} {
		q := fmt.Sprintf("%q", name)
		wantError(t, s.Put(t.Context(), name, nil), object.ErrName, "Put "+q)
		wantError(t, second(s.Get(t.Context(), name, 0, -1)), object.ErrName, "Get "+q)
		wantError(t, s.Delete(t.Context(), name), object.ErrName, "Delete "+q)
	}
	for _, prefix := range []string{"..", "/", "a//", "A", ".tmp/"} {
		err := s.List(t.Context(), prefix, func(object.Info) error { return nil })
		wantError(t, err, object.ErrName, fmt.Sprintf("List %q", prefix))
	}
	wantNames(t, s, "")
}

func testGoodNames(t *testing.T, s object.Store) {
	long := strings.Repeat("d/", 20) + strings.Repeat("x", object.MaxName-40)
	for _, name := range []string{"-", "_", "a..b", "a.-_", "0/-rf", long} {
		put(t, s, name, []byte(name))
		wantObject(t, s, name, []byte(name))
	}
}

func testStatAndClock(t *testing.T, s object.Store) {
	clock, ok := s.(object.Clock)
	if !ok {
		t.Fatal("the store has no clock")
	}
	before, err := clock.Now(t.Context())
	if err != nil {
		t.Fatalf("Now: %v", err)
	}
	put(t, s, "x/y", []byte("four"))
	info, err := s.(object.Stater).Stat(t.Context(), "x/y")
	if err != nil {
		t.Fatalf("Stat: %v", err)
	}
	after, err := clock.Now(t.Context())
	if err != nil {
		t.Fatalf("Now: %v", err)
	}
	if info.Name != "x/y" || info.Size != 4 {
		t.Errorf("Stat says %+v", info)
	}
	// HTTP dates are whole seconds.
	if info.Modified.Before(before.Add(-2e9)) || info.Modified.After(after.Add(2e9)) {
		t.Errorf("modified at %v, which is not between %v and %v", info.Modified, before, after)
	}
	wantNames(t, s, "", "x/y")
}

func testSpace(t *testing.T, s object.Store) {
	space, ok := s.(object.Space)
	if !ok {
		return // buckets do not know
	}
	if free, err := space.Free(t.Context()); err != nil || free <= 0 {
		t.Errorf("Free: %d, %v", free, err)
	}
}
