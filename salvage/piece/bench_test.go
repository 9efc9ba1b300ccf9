package piece

import (
	"context"
	"testing"
)

// ledger is many wants, looked up by size as a data base does.
type ledger map[int64][]Want

func (l ledger) Each(_ context.Context, yield func(Want) error) error {
	for _, wants := range l {
		for _, w := range wants {
			if err := yield(w); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l ledger) OfSize(_ context.Context, size int64, yield func(Want) error) error {
	for _, w := range l[size] {
		if err := yield(w); err != nil {
			return err
		}
	}
	return nil
}

// crowd is a ledger of so many messages, their sizes where those of real mail are.
func crowd(n int, more ...Want) ledger {
	l := ledger{}
	for i := range n {
		w := Want{ID: int64(i), Size: int64(2000 + i*7919%40000)}
		w.SHA1[0], w.SHA1[1], w.SHA1[2], w.SHA1[3] = byte(i), byte(i>>8), byte(i>>16), 1
		l[w.Size] = append(l[w.Size], w)
	}
	for _, w := range more {
		l[w.Size] = append(l[w.Size], w)
	}
	return l
}

// BenchmarkRun hashes one message of 64 MiB against a ledger of a million others.
func BenchmarkRun(b *testing.B) {
	large := body("large", 64<<20-5, false)
	o := open(b, crowd(1_000_000, wantOf(1, large)))
	for _, form := range []struct {
		name string
		lf   bool
	}{{"CRLF", false}, {"LF", true}} {
		b.Run(form.name, func(b *testing.B) {
			data := body("large", 64<<20-5, form.lf)
			v := &memory{data: append(data, make([]byte, 2*testBlock-len(data)%testBlock)...)}
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				run, err := o.Run(b.Context(), v, 0, testBlock, 0)
				if err != nil || len(run.Matches) != 1 {
					b.Fatal(run, err)
				}
			}
		})
	}
}

// BenchmarkRunSmall hashes messages of 8 KB, as most are.
func BenchmarkRunSmall(b *testing.B) {
	stored := body("small", 8000, false)
	o := open(b, crowd(100_000, wantOf(1, stored)))
	v := &memory{data: append(stored, make([]byte, testBlock)...)}
	b.SetBytes(int64(len(stored)))
	for b.Loop() {
		if run, err := o.Run(b.Context(), v, 0, testBlock, 0); err != nil || len(run.Matches) == 0 {
			b.Fatal(run, err)
		}
	}
}

// BenchmarkSurvey looks at mail in pieces.
func BenchmarkSurvey(b *testing.B) {
	_, v, _, _ := fragmented(b, 1)
	ground := runs{{Len: v.Size()}}
	b.SetBytes(v.Size())
	for b.Loop() {
		if _, err := NewSurvey(b.Context(), v, ground, testBlock, 0); err != nil {
			b.Fatal(err)
		}
	}
}
