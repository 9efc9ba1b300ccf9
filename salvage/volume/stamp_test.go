package volume

import (
	"os"
	"slices"
	"testing"
	"time"
)

func TestStamps(t *testing.T) {
	path, other := sparse(t, "a.img", 1<<20), sparse(t, "b.img", 1<<20)
	a, b := open(t, path, Options{}), open(t, other, Options{})
	device := open(t, loop(t, path), Options{})
	half := Section(a, 512, 4096, "half")
	for _, c := range []struct {
		name string
		v    Volume
		want []string
	}{
		{"an image", a, []string{path}},
		{"a part of it", Section(half, 0, 512, "part"), []string{path}},
		{"more than it", Extend(half, 1<<30), []string{path}},
		{"of several", &joined{size: 8192, pieces: []piece{{0, 512, b, 0}, {512, 512, half, 0}, {1024, 512, nil, 0}, {1536, 512, b, 1024}}}, []string{path, other}},
		{"a device", device, nil},
		{"of no file", memory(t, "memory", make([]byte, 4096)), nil},
	} {
		var got []string
		for _, s := range Stamps(c.v) {
			if got = append(got, s.Path); s.Inode == 0 || s.Modified == 0 {
				t.Errorf("%s: %+v", c.name, s)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, not %q", c.name, got, c.want)
		}
	}
	before := Stamps(a)[0]
	if err := os.Chtimes(path, time.Now(), time.Unix(1, 5)); err != nil {
		t.Fatal(err)
	}
	if now := Stamps(a)[0]; now.Modified != 1e9+5 || now.Inode != before.Inode {
		t.Errorf("%+v, and then %+v", before, now)
	}
}
