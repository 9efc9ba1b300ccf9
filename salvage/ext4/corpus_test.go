package ext4

import (
	"compress/bzip2"
	"compress/gzip"
	"context"
	"errors"
	"io"
	iofs "io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"salvor/salvage/fsys"
	"salvor/salvage/volume"
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
	err := filepath.WalkDir(root, func(path string, d iofs.DirEntry, err error) error {
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

// TestCensus tells what a sweep over the image that SALVOR_EXT_CENSUS names brings,
// for who wants to know what to expect of a volume. It proves nothing by itself.
func TestCensus(t *testing.T) {
	path := os.Getenv("SALVOR_EXT_CENSUS")
	if path == "" {
		return
	}
	v := openDisk(t, path)
	supers, err := Find(context.Background(), v)
	fs := []*FS{}
	for _, s := range supers {
		t.Log(s.String(), s.Copies, "copies, checksum right:", s.Sure)
		f, err := OpenAt(context.Background(), v, s)
		if err != nil {
			t.Fatal(err)
		}
		fs = append(fs, f)
	}
	if err != nil {
		t.Log(err)
		fs = append(fs, Guess(v, 0))
	}
	for _, f := range fs {
		traces := map[string]int{}
		count := func(tr fsys.Trace) error { traces[string(tr.Kind)+" "+string(tr.Origin)]++; return nil }
		started := time.Now()
		if err := f.Known(context.Background(), count); err != nil {
			t.Fatal(err)
		}
		known := time.Since(started)
		p := make([]byte, 4<<20)
		for off := int64(0); off < v.size; off += int64(len(p)) {
			n := min(int64(len(p)), v.size-off)
			unknown, err := v.ReadAt(p[:n], off)
			if err == nil {
				err = f.Look(volume.Window{Off: off, Data: p[:n], Unknown: unknown}, count)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		t.Logf("%v; journal in %v, sweep with the others in %v, %.2f GB/s", traces, known, time.Since(started), float64(v.size)/time.Since(started).Seconds()/1e9)
	}
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
