package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"salvor/internal/objstore/object"
)

// race puts bodies under one name at the same moment and returns the errors.
func race(t *testing.T, s object.Store, name string, bodies [][]byte) []error {
	errs := make([]error, len(bodies))
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i, body := range bodies {
		wg.Go(func() {
			<-start
			errs[i] = s.Put(t.Context(), name, body)
		})
	}
	close(start)
	wg.Wait()
	return errs
}

func testRaceOtherBytes(t *testing.T, s object.Store) {
	for round := range 20 {
		name := fmt.Sprintf("commits/%02d", round)
		// Of the same length, so that only the bytes tell them apart.
		bodies := [][]byte{Bytes(uint64(round), 5000), Bytes(uint64(round)+1000, 5000)}
		errs := race(t, s, name, bodies)
		winner := -1
		for i, err := range errs {
			if err == nil {
				if winner >= 0 {
					t.Fatalf("%s: two writers with other bytes succeeded", name)
				}
				winner = i
			} else {
				wantError(t, err, object.ErrExists, name)
			}
		}
		if winner < 0 {
			t.Fatalf("%s: nobody succeeded: %v", name, errs)
		}
		wantObject(t, s, name, bodies[winner])
	}
}

func testRaceSameBytes(t *testing.T, s object.Store) {
	body := Bytes(7, 100000)
	bodies := [][]byte{body, bytes.Clone(body), bytes.Clone(body), bytes.Clone(body)}
	for round := range 5 {
		name := fmt.Sprintf("packs/%02d", round)
		for _, err := range race(t, s, name, bodies) {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		wantObject(t, s, name, body)
	}
}

func testConcurrentPuts(t *testing.T, s object.Store) {
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 10 {
				name := fmt.Sprintf("packs/%02x/%d", i*3, w)
				body := Bytes(uint64(w*10+i), 1000*w+i)
				if err := s.Put(t.Context(), name, body); err != nil {
					t.Error(err)
					return
				}
				got, err := s.Get(t.Context(), name, 0, -1)
				if err != nil || !bytes.Equal(got, body) {
					t.Errorf("Get %s: %d bytes, %v", name, len(got), err)
				}
			}
		})
	}
	wg.Wait()
	if got := len(names(t, s, "packs/")); got != 80 {
		t.Errorf("%d objects are listed, want 80", got)
	}
}

func testCancelled(t *testing.T, s object.Store) {
	put(t, s, "there", []byte("x"))
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("the operator pressed Ctrl-C"))
	check := func(what string, err error) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s with a cancelled context: %v, want context.Canceled", what, err)
		}
		if errors.Is(err, object.ErrUnavailable) || errors.Is(err, object.ErrNotExist) {
			t.Errorf("%s with a cancelled context blames the store: %v", what, err)
		}
	}
	check("Put", s.Put(ctx, "new", Bytes(1, 1<<20)))
	check("Get", second(s.Get(ctx, "there", 0, -1)))
	check("Delete", s.Delete(ctx, "there"))
	check("List", s.List(ctx, "", func(object.Info) error { return nil }))
	check("Stat", second(s.(object.Stater).Stat(ctx, "there")))
	check("Now", second(s.(object.Clock).Now(ctx)))
	wantNames(t, s, "", "there")
}
