package storetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"salvor/internal/objstore/object"
)

// sample is chosen so that the order of whole names differs from the order of
// a walk through directories: '-' and '.' come before the slash, '0' after.
var sample = []string{"a-b", "a.b", "a/b", "a/b-c", "a/b.c", "a/c/d", "a/c0", "a0", "b", "packs/00/x", "packs/0a/y", "packs/0a/z", "packs/b"}

func testList(t *testing.T, s object.Store) {
	for i := range sample { // not in order
		name := sample[(i*5)%len(sample)]
		put(t, s, name, []byte(name))
	}
	for _, prefix := range []string{"", "a", "a/", "a/b", "a/b-c", "a/b-cx", "packs/", "packs/0", "packs/0a/", "packs/0a/y", "z", "pack", "a/c/d/e"} {
		want := slices.DeleteFunc(slices.Clone(sample), func(n string) bool { return !strings.HasPrefix(n, prefix) })
		wantNames(t, s, prefix, want...)
	}
	err := s.List(t.Context(), "", func(i object.Info) error {
		if i.Size != int64(len(i.Name)) || i.Modified.IsZero() {
			t.Errorf("listed as %+v", i)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func testListEmpty(t *testing.T, s object.Store) {
	wantNames(t, s, "")
	wantNames(t, s, "commits/")
}

// testListMany lists more than one of S3's pages.
func testListMany(t *testing.T, s object.Store) {
	const n = 1100
	want := make([]string, n)
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := w; i < n; i += 8 {
				want[i] = fmt.Sprintf("many/%05d", i)
				if err := s.Put(t.Context(), want[i], nil); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	wantNames(t, s, "many/", want...)
	wantNames(t, s, "many/010", want[1000:1100]...)
}

func testListStops(t *testing.T, s object.Store) {
	for _, name := range []string{"a/1", "a/2", "a/3"} {
		put(t, s, name, nil)
	}
	enough := errors.New("enough")
	seen := 0
	err := s.List(t.Context(), "", func(object.Info) error {
		if seen++; seen == 2 {
			return enough
		}
		return nil
	})
	if err != enough {
		t.Errorf("List returned %v, want the error of yield as it is", err)
	}
	if seen != 2 {
		t.Errorf("yield was called %d times, want 2", seen)
	}
}

func testListWhileDeleting(t *testing.T, s object.Store) {
	for _, name := range []string{"p/1", "p/2", "p/3", "q/1"} {
		put(t, s, name, nil)
	}
	err := s.List(t.Context(), "", func(i object.Info) error {
		return errors.Join(s.Delete(t.Context(), i.Name), s.Delete(t.Context(), "p/2"))
	})
	if err != nil {
		t.Errorf("List: %v", err)
	}
	wantNames(t, s, "")
}
