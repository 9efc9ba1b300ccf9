package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"salvor/internal/durable"
	"salvor/internal/vault"
)

// state is what this host remembers besides keys and catalogs, in
// state.json beside the host's keys. Losing it loses no mail: a vault's catalog
// is then not found while the vault does not answer, and a confirmed identity
// has to be confirmed again.
type state struct {
	// Vaults gives the id of the vault that was last seen at a URL.
	Vaults map[string]string `json:"vaults,omitempty"`
	// Targets gives where all targets of a vault with parity are, by the URL of
	// any: the one that a command names may be away.
	Targets map[string][]string `json:"targets,omitempty"`
	// Heads gives the newest commit that this host has seen, by vault: by it a
	// vault that was rolled back is noticed when the catalog is lost.
	Heads map[string]headWords `json:"heads,omitempty"`
	// Revoked gives the revocations that this host has seen, by vault: writers,
	// and the last commit to be believed of each. A vault that has lost one was
	// rolled back, or somebody writes on with a key that was taken from him.
	Revoked map[string]map[vault.WriterID]uint64 `json:"revoked,omitempty"`
	// Checks says which part of a vault was read last by check --percent, so that
	// the next one reads the next part.
	Checks map[string]int `json:"checks,omitempty"`
	// Identities are those that salvor has made here or had confirmed.
	Identities []knownIdentity `json:"identities,omitempty"`
}

type knownIdentity struct {
	Recipient string     `json:"recipient"` // the public half
	File      string     `json:"file"`
	Confirmed *time.Time `json:"confirmed,omitempty"` // when a copy was shown
}

func (a *app) statePath() string { return filepath.Join(a.settings.state, "state.json") }

func (a *app) readState() (*state, error) {
	st := &state{Vaults: map[string]string{}, Targets: map[string][]string{}, Heads: map[string]headWords{}}
	b, err := os.ReadFile(a.statePath())
	if errors.Is(err, fs.ErrNotExist) {
		return st, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(b, st); err != nil {
		return nil, withHint(fmt.Errorf("read %s: %w", a.statePath(), err), "remove the file; it only holds what salvor finds out again")
	}
	if st.Vaults == nil {
		st.Vaults = map[string]string{}
	}
	if st.Targets == nil {
		st.Targets = map[string][]string{}
	}
	if st.Heads == nil {
		st.Heads = map[string]headWords{}
	}
	return st, nil
}

func (a *app) writeState(st *state) error {
	b, err := json.MarshalIndent(st, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(a.settings.state, 0o700); err != nil {
		return err
	}
	return durable.WriteFile(a.statePath(), append(b, '\n'), 0o600)
}

// remember notes which vault lies at the URL, so that its catalog is found
// while the vault does not answer.
func (a *app) remember(id string) error {
	st, err := a.readState()
	if err != nil || st.Vaults[a.settings.vault] == id {
		return err
	}
	st.Vaults[a.settings.vault] = id
	if err := a.writeState(st); err != nil {
		a.warn("salvor: warning: %v", err) // a read-only host can restore all the same
	}
	return nil
}

// rememberHead notes the catalog's head when it is newer than the one known.
func (a *app) rememberHead(s *session) error {
	head, err := s.catalog.Head()
	if err != nil || head.Number == 0 {
		return err
	}
	st, err := a.readState()
	if err != nil || st.Heads[head.Vault].Number >= head.Number {
		return err
	}
	st.Heads[head.Vault] = headWords(head)
	if err := a.writeState(st); err != nil {
		a.warn("salvor: warning: %v", err) // as in remember
	}
	return nil
}

// rememberRevoked notes the revocations that were seen in the vault.
func (a *app) rememberRevoked(s *session) error {
	seen := s.vault.Revoked()
	if len(seen) == 0 {
		return nil
	}
	st, err := a.readState()
	if err != nil || maps.Equal(st.Revoked[s.vault.ID()], seen) {
		return err
	}
	if st.Revoked == nil {
		st.Revoked = map[string]map[vault.WriterID]uint64{}
	}
	st.Revoked[s.vault.ID()] = seen
	if err := a.writeState(st); err != nil {
		a.warn("salvor: warning: %v", err) // as in remember
	}
	return nil
}

// checkKnownHead looks whether the vault still has the newest commit that this
// host has seen.
func (a *app) checkKnownHead(ctx context.Context, s *session) error {
	st, err := a.readState()
	if err != nil {
		return err
	}
	known, seen := st.Heads[s.vault.ID()]
	if !seen {
		return nil
	}
	return a.hasCommit(ctx, s.vault, vault.Head(known))
}

// nextPart is the part of a vault that a check with --percent reads now.
func (a *app) nextPart(id string) (int, error) {
	st, err := a.readState()
	if err != nil {
		return 0, err
	}
	return st.Checks[id] + 1, nil
}

// readPart notes that it was read to its end.
func (a *app) readPart(id string, part int) error {
	st, err := a.readState()
	if err != nil {
		return err
	}
	if st.Checks == nil {
		st.Checks = map[string]int{}
	}
	st.Checks[id] = part
	return a.writeState(st)
}

// hasCommit is ErrRolledBack unless the vault has this commit.
func (a *app) hasCommit(ctx context.Context, v *vault.Vault, head vault.Head) error {
	stop := errors.New("found")
	err := v.Commits(ctx, head, func(*vault.Commit) error { return stop })
	if err != nil && !errors.Is(err, stop) {
		return a.whereVault(err)
	}
	return nil
}

// note remembers an identity that salvor made, or that was confirmed.
func (st *state) note(id knownIdentity) {
	i := slices.IndexFunc(st.Identities, func(k knownIdentity) bool { return k.Recipient == id.Recipient })
	if i < 0 {
		st.Identities = append(st.Identities, id)
		return
	}
	st.Identities[i].Confirmed = id.Confirmed
}

// unconfirmed gives the file of an identity that salvor made on this host for
// the vault, and of which nobody has shown a copy yet; "" when there is none.
func (a *app) unconfirmed(c vault.Config) (string, error) {
	st, err := a.readState()
	if err != nil {
		return "", err
	}
	for _, id := range st.Identities {
		if id.Confirmed == nil && slices.Contains(c.Recipients, id.Recipient) {
			return id.File, nil
		}
	}
	return "", nil
}

// identityWarning is the words about an unconfirmed identity, "" for none.
func (a *app) identityWarning(s *session) (string, error) {
	if s.vault == nil {
		return "", nil
	}
	file, err := a.unconfirmed(s.vault.Config())
	if err != nil || file == "" {
		return "", err
	}
	return fmt.Sprintf("no copy of the identity is known to exist; without %s nobody can read this backup. "+
		"Copy it to another place and run: salvor identity confirm COPY", file), nil
}

// remindIdentity says so at the end of every run that writes.
func (a *app) remindIdentity(s *session) error {
	words, err := a.identityWarning(s)
	if err == nil && words != "" && !a.toldIdentity {
		a.warn("salvor: warning: %s", words)
	}
	return err
}
