package s3gw

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestFind looks in the places in their order, and says how to get the program.
func TestFind(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "gw")
	if err := os.WriteFile(program, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SALVOR_VERSITYGW", program)
	if got, err := find(); err != nil || got != program {
		t.Errorf("find: %q, %v", got, err)
	}
	t.Setenv("SALVOR_VERSITYGW", program+".missing")
	if _, err := find(); err == nil || !strings.Contains(err.Error(), "go install github.com/versity/versitygw") {
		t.Errorf("find: %v, want a word on how to install it", err)
	}
}

// TestServer starts, stops and restarts a server, through a proxy that does
// nothing.
func TestServer(t *testing.T) {
	s := Start(t)
	s.MakeBucket(t, "bucket")
	s.Stop(t)
	if s.healthy(t.Context()) {
		t.Error("the server answers after Stop")
	}
	s.Restart(t)
	s.Endpoint = NewProxy(t, s.Endpoint).Endpoint
	there, err := s.Client(t).BucketExists(t.Context(), "bucket")
	if err != nil || !there {
		t.Errorf("the bucket after a restart: %v, %v", there, err)
	}
}
