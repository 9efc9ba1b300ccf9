package objstore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"salvor/internal/testenv/s3gw"
)

func TestOpenDirectory(t *testing.T) {
	base := t.TempDir()
	t.Chdir(base)
	for _, url := range []string{"vault", "file:vault", filepath.Join(base, "vault"), "file:" + base + "/vault", "file://" + base + "/vault", "./vault"} {
		s, err := Open(t.Context(), url, Options{Create: true})
		if err != nil {
			t.Fatalf("Open %q: %v", url, err)
		}
		if err := s.Put(t.Context(), "config", []byte("x")); err != nil {
			t.Errorf("Put at %q: %v", url, err)
		}
		if _, ok := s.(Space); !ok {
			t.Errorf("%q does not know its free space", url)
		}
	}
	if entries, err := os.ReadDir(base); err != nil || len(entries) != 1 {
		t.Errorf("the URLs led to %v (%v), want one directory", entries, err)
	}
}

func TestOpenNothing(t *testing.T) {
	for _, test := range []struct {
		url  string
		want error
	}{
		{filepath.Join(t.TempDir(), "none"), ErrNotExist},
		{"", ErrURL},
		{"file:", ErrURL},
		{"file://host/path", ErrURL},
		{"sftp://host/path", ErrURL},
		{"S3://bucket", ErrURL},
		{"s3:bucket", ErrURL},
		{"s3://", ErrURL},
	} {
		if err := CheckURL(test.url); errors.Is(test.want, ErrURL) && test.url != "" && test.url != "file:" && !errors.Is(err, ErrURL) {
			t.Errorf("CheckURL %q: %v", test.url, err)
		}
		s, err := Open(t.Context(), test.url, Options{})
		if !errors.Is(err, test.want) {
			t.Errorf("Open %q: %v, want %v", test.url, err, test.want)
		}
		if s != nil {
			t.Errorf("Open %q: a store with an error", test.url)
		}
	}
}

func TestOpenBucket(t *testing.T) {
	server := s3gw.Start(t)
	s3gw.SetKeys(t, s3gw.Access, s3gw.Secret)
	if _, err := Open(t.Context(), server.URL("bucket", "p"), Options{}); !errors.Is(err, ErrNotExist) {
		t.Errorf("Open of a missing bucket: %v, want ErrNotExist", err)
	}
	s, err := Open(t.Context(), server.URL("bucket", "p"), Options{Create: true})
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(s); got != "s3://bucket/p" {
		t.Errorf("the store calls itself %q", got)
	}
}
