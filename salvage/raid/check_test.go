package raid

import (
	"context"
	"errors"
	"testing"

	"salvor/internal/testenv/raidmaker"
	"salvor/salvage/volume"
)

func TestCheckFindsWhoLies(t *testing.T) {
	data := noise(900000, 40)
	for _, c := range []struct {
		spec  raidmaker.Spec
		names bool // can it tell who?
	}{
		{raidmaker.Spec{Level: 5, Layout: leftSymmetric, Disks: 5, Chunk: 16 << 10}, false},
		{raidmaker.Spec{Level: 6, Layout: leftSymmetric, Disks: 5, Chunk: 16 << 10}, true},
		{raidmaker.Spec{Level: 6, Layout: leftAsymmetric, Disks: 6, Chunk: 16 << 10}, true},
		{raidmaker.Spec{Level: 6, Layout: ddfNContinue, Disks: 6, Chunk: 16 << 10}, true},
		{raidmaker.Spec{Level: 1, Disks: 2}, false},
		{raidmaker.Spec{Level: 1, Disks: 3}, true},
		{raidmaker.Spec{Level: 10, Layout: 0x102, Disks: 4, Chunk: 16 << 10}, false},
		{raidmaker.Spec{Level: 10, Layout: 0x301, Disks: 3, Chunk: 16 << 10}, true},
	} {
		for liar := range c.spec.Disks {
			ms := memories(data, c.spec)
			a, err := Open(volumes(ms), optionsFor(c.spec))
			if err != nil {
				t.Fatal(err)
			}
			if got, err := a.Check(context.Background(), CheckOptions{}); err != nil || got.Contradicted != 0 || got.Bytes == 0 {
				t.Fatalf("%s: untouched: %+v, %v", title(c.spec), got, err)
			}
			for i := range 700 { // over three sectors
				ms[liar].bytes[20400+i] ^= 0x5a
			}
			got, err := a.Check(context.Background(), CheckOptions{})
			if err != nil || got.Contradicted != 3*512 {
				t.Errorf("%s: member %d lies: %+v, %v", title(c.spec), liar, got, err)
			}
			for _, x := range got.Contradictions {
				want := -1
				if c.names {
					want = liar
				}
				if x.Slot != want {
					t.Errorf("%s: member %d lies, told is %+v", title(c.spec), liar, x)
				}
				if c.spec.Level == 5 || c.spec.Level == 6 {
					if x.Range.Off < 20400/512*512 || x.Range.End() > (20400+700+511)/512*512 {
						t.Errorf("%s: told is %+v", title(c.spec), x)
					}
				}
			}
			if r := a.Report().Checked; r.Contradicted != 3*512 {
				t.Errorf("%s: the report says %+v", title(c.spec), r)
			}
		}
	}
}

func TestCheckOfARAID6WithoutOneMember(t *testing.T) {
	s := raidmaker.Spec{Level: 6, Layout: leftSymmetric, Disks: 5, Chunk: 16 << 10}
	for lost := range s.Disks {
		ms := memories(noise(900000, 42), s)
		ms[lost].bad = []volume.Range{{Off: 0, Len: 1 << 40}}
		a, err := Open(volumes(ms), optionsFor(s))
		if err != nil {
			t.Fatal(err)
		}
		got, err := a.Check(context.Background(), CheckOptions{})
		if err != nil || got.Unable != 0 || got.Contradicted != 0 || got.Bytes != a.stripes.rows*s.Chunk {
			t.Errorf("without %d: %+v, %v", lost, got, err)
		}
		ms[(lost+1)%5].bytes[50000] ^= 1
		got, err = a.Check(context.Background(), CheckOptions{})
		if err != nil || got.Contradicted != 512 || got.Contradictions[0].Slot != -1 {
			t.Errorf("without %d, one byte changed: %+v, %v", lost, got, err)
		}
	}
}

func TestCheckSaysWhatItCannotCompare(t *testing.T) {
	s := raidmaker.Spec{Level: 6, Layout: leftSymmetric, Disks: 5, Chunk: 16 << 10}
	ms := memories(noise(900000, 41), s)
	ms[2].bad = []volume.Range{{Off: 4096, Len: 512}, {Off: 9 << 10, Len: 1 << 10}}
	ms[3].bad = []volume.Range{{Off: 4096, Len: 512}} // two lost: nothing to compare with
	a, err := Open(volumes(ms), optionsFor(s))
	if err != nil {
		t.Fatal(err)
	}
	got, err := a.Check(context.Background(), CheckOptions{Samples: 1})
	if err != nil || got.Unable != 512 || got.Contradicted != 0 || got.Bytes == 0 {
		t.Errorf("%+v, %v", got, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := a.Check(ctx, CheckOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
