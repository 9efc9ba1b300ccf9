package ext4

import (
	"compress/bzip2"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Images that the makers of e2fsprogs damaged, in more ways than anybody would
// think of, are read without harm. They are not part of this project: where they
// lie is told by SALVOR_EXT_IMAGES.
func TestCorpus(t *testing.T) {
	root := os.Getenv("SALVOR_EXT_IMAGES")
	if root == "" {
		return // TestHandDamaged has some of their kind for everybody
	}
	images := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasPrefix(d.Name(), "image") {
			return err
		}
		p := unpacked(t, path)
		if p == nil {
			return nil
		}
		images++
		name := filepath.Base(filepath.Dir(path)) + "/" + d.Name()
		f, err := Open(context.Background(), memory(p))
		if errors.Is(err, ErrNoSuper) {
			f = Guess(memory(p), 1024)
		} else if err != nil {
			t.Errorf("%s: %v", name, err)
			return nil
		}
		started := time.Now()
		exercise(t, f)
		if took := time.Since(started); took > 20*time.Second {
			t.Errorf("%s: took %v", name, took)
		}
		return nil
	})
	if err != nil || images == 0 {
		t.Fatalf("%d images: %v", images, err)
	}
	t.Logf("%d images", images)
}

// unpacked is an image's bytes; nil for what is none.
func unpacked(t *testing.T, path string) []byte {
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var r io.Reader = file
	switch filepath.Ext(path) {
	case ".gz":
		if r, err = gzip.NewReader(file); err != nil {
			t.Fatal(err)
		}
	case ".bz2":
		r = bzip2.NewReader(file)
	}
	p, err := io.ReadAll(io.LimitReader(r, 512<<20))
	if err != nil {
		t.Errorf("%s: %v", path, err)
	}
	return p
}
