package s3

import (
	"net/http"
	"strings"
	"testing"
)

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"s3://bucket/p?endpoint=http://127.0.0.1:7070&region=us-east-1", "s3://bucket", "s3://b:c@bucket/p", "s3://bucket//", "s3://bucket/%2e%2e/x",
		"s3://bucket/p?endpoint=https://[::1]:1", "%", "s3:bucket",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		loc, err := parse(raw)
		if err != nil {
			return
		}
		if strings.ContainsAny(loc.label, "?@\n\x00") || loc.host == "" || strings.Contains("/"+loc.prefix+"/", "/../") {
			t.Errorf("%q gives %+v", raw, loc)
		}
		key := loc.key("commits/1")
		if len(key) > 1024 || loc.name(key) != "commits/1" {
			t.Errorf("%q: key %q is the name %q", raw, key, loc.name(key))
		}
	})
}

func FuzzRangeLength(f *testing.F) {
	for _, s := range []string{"bytes 5-9/100", "bytes 5-9/*", "bytes 5-4/9", "bytes 5-99999999999999999999/9", "", "bytes */5", "bytes 5-9223372036854775807/9"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		n, err := rangeLength(http.Header{"Content-Range": {value}}, 5)
		if err == nil && n < 1 {
			t.Errorf("%q has %d bytes", value, n)
		}
	})
}

func TestReadN(t *testing.T) {
	for _, n := range []int64{0, 1, 511, 512, 513, firstRead - 1, firstRead, firstRead + 1, 2*firstRead + 7} {
		got, err := readN(zeros{}, n)
		if err != nil || int64(len(got)) != n {
			t.Errorf("readN %d: %d bytes, %v", n, len(got), err)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }
