package salvage

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"testing"
)

func TestSieve(t *testing.T) {
	sum := func(n int) string {
		s := sha256.Sum256([]byte(strconv.Itoa(n)))
		return hex.EncodeToString(s[:])
	}
	s := new(sieve)
	const many = 100_000
	for n := range many {
		s.put(sum(n))
	}
	passed := 0
	for n := range many {
		if !s.mayHave(sum(n)) || !s.mayHave(sum(n)[:16]) {
			t.Fatalf("%s is lost", sum(n))
		}
		if s.mayHave(sum(many + n)) {
			passed++
		}
	}
	if passed > many/100 {
		t.Errorf("%d of %d others pass", passed, many)
	}
	for _, odd := range []string{"", "x", "zz", "abc"} {
		if s.put(odd); !s.mayHave(odd) {
			t.Errorf("%q is lost", odd)
		}
	}
}
