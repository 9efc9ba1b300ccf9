package main

import (
	"errors"
	"fmt"
	"testing"
)

// A harness stands in for the test that the servers of internal/testenv belong
// to: a failure ends the measurement with an error, and what a test would clean
// up is cleaned up when it ends. It has the methods that those packages call,
// for one goroutine, and no others.
type harness struct {
	testing.TB // nil
	cleanups   []func()
}

// A failure is what Fatal says.
type failure struct{ error }

// withServers calls f with a harness and ends all servers that f has started.
func withServers(f func(t testing.TB) error) (err error) {
	h := &harness{}
	defer func() {
		if said := recover(); said != nil {
			failed, ours := said.(failure)
			if !ours {
				h.end()
				panic(said)
			}
			err = errors.Join(err, failed.error)
		}
		h.end()
	}()
	return f(h)
}

// end cleans up, the latest first.
func (h *harness) end() {
	for i := len(h.cleanups) - 1; i >= 0; i-- {
		h.cleanups[i]()
	}
	h.cleanups = nil
}

func (h *harness) Helper()           {}
func (h *harness) Cleanup(f func())  { h.cleanups = append(h.cleanups, f) }
func (h *harness) Fatal(args ...any) { panic(failure{errors.New(fmt.Sprint(args...))}) }
func (h *harness) Fatalf(format string, args ...any) {
	panic(failure{fmt.Errorf(format, args...)})
}
