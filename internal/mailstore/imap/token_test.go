package imap

import "testing"

func TestTokens(t *testing.T) {
	want := token{7, 1 << 40, 5, 4}
	if got, ok := parseToken(want.String()); !ok || got != want {
		t.Errorf("%q is %+v, %v", want, got, ok)
	}
	for _, text := range []string{"", "7", "7.0.5.4", "7.1.5", "7.1.5.4.3", "7.1.5.4 ", "+7.1.5.4", "99999999999.1.5.4", "7.-1.5.4", "a.b.c.d"} {
		if got, ok := parseToken(text); ok {
			t.Errorf("%q is %+v", text, got)
		}
	}
	if v, u, err := splitKey(keyOf(7, 12)); v != 7 || u != 12 || err != nil {
		t.Error(v, u, err)
	}
}

// FuzzTokens reads any State and Key, as a catalog of another source's may hold.
func FuzzTokens(f *testing.F) {
	for _, s := range []string{"7.5.4.3", "7.12", "1.M2.host", "", "0.0", "4294967295.18446744073709551615.1.1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if got, ok := parseToken(text); ok && got.String() != text {
			t.Errorf("%q is %q", text, got)
		}
		if v, u, err := splitKey(text); err == nil {
			if v2, u2, err := splitKey(keyOf(v, u)); v2 != v || u2 != u || err != nil {
				t.Errorf("%q is %d.%d", text, v, u)
			}
		}
	})
}
