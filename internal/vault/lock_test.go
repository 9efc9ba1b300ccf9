package vault_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"salvor/chunk"
	"salvor/internal/objstore"
	"salvor/internal/testenv/bucket"
	"salvor/internal/vault"
)

// TestLockRule reads what it writes, and nothing else.
func TestLockRule(t *testing.T) {
	for _, good := range []string{"governance 3", "compliance 3650"} {
		r, err := vault.ParseLockRule(good)
		if err != nil || r.String() != good {
			t.Errorf("%q: %v, %v", good, r, err)
		}
	}
	for _, bad := range []string{"", "governance", "governance 2", "governance 3651", "governance 07", "governance -5", "Governance 7", "legal 7", "governance 7 7", "governance  7"} {
		if r, err := vault.ParseLockRule(bad); err == nil {
			t.Errorf("%q is taken for %v", bad, r)
		}
	}
}

// lying is a bucket that says it locks, and does not.
type lying struct {
	*bucket.Bucket
	quiet bool // it does not even say until when
}

func (l lying) PutLocked(ctx context.Context, name string, body []byte, lock objstore.Lock) error {
	return l.Bucket.Put(ctx, name, body)
}

func (l lying) LockOf(ctx context.Context, v objstore.Version) (objstore.Lock, error) {
	if l.quiet {
		return objstore.Lock{}, nil
	}
	return objstore.Lock{Mode: objstore.Governance, Until: l.Clock().Add(5 * 24 * time.Hour)}, nil
}

// TestLockIsProven: no vault is made where objects are not locked, and nothing
// is left of the attempt.
func TestLockIsProven(t *testing.T) {
	id, err := vault.NewIdentity(vault.IdentityOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, quiet := range []bool{true, false} {
		st := lying{&bucket.Bucket{Clock: time.Now}, quiet}
		_, err := vault.Create(t.Context(), st, vault.CreateOptions{Root: id.Root(), Recipients: []string{id.Recipient()}, Cutting: chunk.DefaultParams(),
			Lock: vault.LockRule{Mode: objstore.Governance, Days: 5}})
		if !errors.Is(err, vault.ErrNotLocking) {
			t.Errorf("create: %v, want ErrNotLocking", err)
		}
		if _, err := vault.Open(t.Context(), st, vault.OpenOptions{}); !errors.Is(err, vault.ErrNoVault) {
			t.Errorf("open: %v, want ErrNoVault", err)
		}
	}
}
