package chunk

import (
	"bytes"
	"fmt"
	"testing"
)

// rebuild is what a restore does, from a Message.
func rebuild(m *Message) ([]byte, error) {
	lf, err := RebuildMessage(m.ID, m.Recipe, fetchFrom(m))
	if err != nil {
		return nil, err
	}
	return m.LineEnds.Restore(nil, lf)
}

func fetchFrom(m *Message) func(PartRef) ([]byte, error) {
	return func(ref PartRef) ([]byte, error) {
		for _, p := range m.Parts {
			if p.ID == ref.ID {
				return p.Data, nil
			}
		}
		return nil, fmt.Errorf("no part %s", ref.ID)
	}
}

func newCutter(t testing.TB) *Cutter {
	t.Helper()
	c, err := NewCutter(DefaultParams())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCutEmpty(t *testing.T) {
	m := newCutter(t).Cut(nil)
	if got, err := rebuild(m); err != nil || len(got) != 0 {
		t.Fatalf("rebuilt %q, %v", got, err)
	}
	if m.ID != Sum(nil) || m.Stored != m.ID || len(m.Parts) != 0 {
		t.Fatalf("cut into %+v", m)
	}
}

func TestCutHeaderOnly(t *testing.T) {
	stored := []byte("Subject: nothing\n")
	m := newCutter(t).Cut(stored)
	if got, err := rebuild(m); err != nil || !bytes.Equal(got, stored) {
		t.Fatalf("rebuilt %q, %v", got, err)
	}
	if want := Sum([]byte("Subject: nothing\r\n")); m.ID != want {
		t.Fatalf("ID %s, want %s", m.ID, want)
	}
}
