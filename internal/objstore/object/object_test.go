package object

import (
	"errors"
	"io"
	"io/fs"
	"strings"
	"testing"
)

func TestCheckName(t *testing.T) {
	for _, test := range []struct {
		name         string
		good, prefix bool
	}{
		{"config", true, true},
		{"packs/ab/0123", true, true},
		{"a.b_c-d/e..f", true, true},
		{"a./b", true, true},
		{"-", true, true},
		{strings.Repeat("a", MaxName), true, true},
		{"", false, true},
		{"packs/", false, true},
		{strings.Repeat("a", MaxName+1), false, false},
		{"/a", false, false},
		{"/", false, false},
		{"a//b", false, false},
		{"a//", false, false},
		{".", false, false},
		{"..", false, false},
		{"../a", false, false},
		{"a/..", false, false},
		{"a/../b", false, false},
		{"a/.b", false, false},
		{".tmp/x", false, false},
		{"A", false, false},
		{"a b", false, false},
		{"a\x00", false, false},
		{"a\n", false, false},
		{"a\\b", false, false},
		{"é", false, false},
	} {
		for _, check := range []struct {
			what string
			err  error
			good bool
		}{
			{"CheckName", CheckName(test.name), test.good},
			{"CheckPrefix", CheckPrefix(test.name), test.prefix},
		} {
			if check.good != (check.err == nil) {
				t.Errorf("%s(%q): %v", check.what, test.name, check.err)
			}
			if check.err != nil && !errors.Is(check.err, ErrName) {
				t.Errorf("%s(%q): %v is not ErrName", check.what, test.name, check.err)
			}
		}
	}
}

func FuzzCheckName(f *testing.F) {
	for _, s := range []string{"config", "a/b", "../x", "a/./b", "\x00", "a/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if CheckName(name) == nil && !fs.ValidPath(name) {
			t.Errorf("%q is no valid path", name)
		}
	})
}

func TestCheckRange(t *testing.T) {
	for _, test := range []struct {
		off, n int64
		good   bool
	}{
		{0, 0, true}, {0, -1, true}, {MaxSize, MaxSize, true}, {1, -5, true},
		{-1, 0, false}, {0, MaxSize + 1, false}, {1 << 62, 1 << 62, false},
	} {
		if err := CheckRange(test.off, test.n); test.good != (err == nil) {
			t.Errorf("CheckRange(%d, %d): %v", test.off, test.n, err)
		}
	}
	if CheckSize(MaxSize) != nil || CheckSize(MaxSize+1) == nil {
		t.Error("CheckSize does not stop at MaxSize")
	}
}

func TestErrorText(t *testing.T) {
	for _, test := range []struct {
		err  *Error
		want string
	}{
		{&Error{Op: "open", Store: "/srv/v"}, "open /srv/v"},
		{&Error{Op: "put", Name: "config", Store: "/srv/v", Kind: ErrFull, Err: io.ErrShortWrite, Hint: "make room"},
			"put config in /srv/v: no space left: short write; hint: make room"},
	} {
		if got := test.err.Error(); got != test.want {
			t.Errorf("got %q, want %q", got, test.want)
		}
	}
	err := error(&Error{Kind: ErrFull, Err: io.ErrShortWrite})
	if !errors.Is(err, ErrFull) || !errors.Is(err, io.ErrShortWrite) || errors.Is(err, ErrDenied) {
		t.Errorf("errors.Is does not see through %v", err)
	}
}
