package index

import (
	"bytes"
	"errors"
	"testing"
	"time"
)

// dates are the index and the cache of an INBOX whose three messages came by
// APPEND with these dates. Dovecot 2.3.19 has written them.
func dates(t testing.TB) (*Index, []byte) {
	t.Helper()
	ix, err := Decode(nil, load(t, "dates.log"), nil, CacheExt)
	if err != nil {
		t.Fatal(err)
	}
	return ix, load(t, "dates.cache")
}

func TestReceived(t *testing.T) {
	ix, b := dates(t)
	c, err := ix.OpenCache(bytes.NewReader(b))
	if err != nil || len(ix.Records) != 3 {
		t.Fatalf("%d records, %v", len(ix.Records), err)
	}
	for i, hours := range []time.Duration{0, 1, 7} {
		want := time.Date(2006, 10, 26, 18, 30, 0, 0, time.UTC).Add(hours * time.Hour)
		if got := c.Received(&ix.Records[i], 0); !got.Equal(want) {
			t.Errorf("UID %d: %v, want %v", ix.Records[i].UID, got, want)
		}
	}
	var none *Cache
	if !none.Received(&ix.Records[0], 0).IsZero() || !c.Received(&Record{}, 0).IsZero() {
		t.Error("dates out of nothing")
	}
}

// A cache of another index, or of an earlier state, is refused.
func TestOpenCache(t *testing.T) {
	ix, b := dates(t)
	for name, at := range map[string]int{"version": 0, "index": 4, "sequence": 8, "fields' size": 39, "fields": 41} {
		bad := bytes.Clone(b)
		bad[at] ^= 0xff
		if _, err := ix.OpenCache(bytes.NewReader(bad)); !errors.Is(err, ErrCache) {
			t.Errorf("%s: %v", name, err)
		}
	}
	circle := bytes.Clone(b)
	copy(circle[32:], circle[28:32])
	if _, err := ix.OpenCache(bytes.NewReader(circle)); !errors.Is(err, ErrCache) {
		t.Errorf("fields in a circle: %v", err)
	}
	for n := range 300 {
		if _, err := ix.OpenCache(bytes.NewReader(b[:n])); !errors.Is(err, ErrCache) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	plain, err := Decode(nil, load(t, "dates.log"), nil)
	if err != nil {
		t.Fatal(err)
	}
	plain.exts = nil
	if _, err := plain.OpenCache(bytes.NewReader(b)); !errors.Is(err, ErrCache) {
		t.Errorf("without the extension: %v", err)
	}
}

// FuzzCache: whatever stands in a cache, reading it ends.
func FuzzCache(f *testing.F) {
	_, b := dates(f)
	f.Add(b)
	f.Add(b[:400])
	f.Fuzz(func(t *testing.T, b []byte) {
		ix, _ := dates(t)
		c, err := ix.OpenCache(bytes.NewReader(b))
		if err != nil && !errors.Is(err, ErrCache) {
			t.Fatal(err)
		}
		for i := range ix.Records {
			c.Received(&ix.Records[i], 0)
		}
	})
}
