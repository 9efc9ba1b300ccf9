package owe

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"salvor/catalog"
	"salvor/chunk"
	"salvor/internal/durable"
	"salvor/internal/mailstore"
	"salvor/internal/mailstore/deliver"
)

const (
	planVersion = 1
	// planDir is the directory of the plans, in the incident's own.
	planDir = "plans"
	// maxPlan bounds the file of a plan: some ten million messages.
	maxPlan = 2 << 30
)

var planName = regexp.MustCompile(`^[0-9a-f]{64}$`)

// A plan says what is to be taken out. Its file has one JSON object a line: the
// head, then each user followed by his entries, all in order; its name is its
// SHA-256.
type plan struct {
	head  planHead
	users []planUser
}

type planHead struct {
	Version  int       `json:"plan"`
	Incident string    `json:"incident"`
	Store    string    `json:"store"`
	Made     time.Time `json:"made"`   // when all had been looked at
	Ledger   chunk.ID  `json:"ledger"` // hash of the vault's head
}

// A planUser is one user's part. Exactly one of User and Folder is set in a line.
type planUser struct {
	User     string `json:"user"`
	Messages int    `json:"messages"` // in all folders
	Take     int    `json:"take"`
	entries  []planEntry
}

// again is how many entries are not to be taken out.
func (u *planUser) again() int { return len(u.entries) - u.Take }

// A planEntry is one message without content.
type planEntry struct {
	Folder      string             `json:"folder"`
	UIDValidity uint32             `json:"uid_validity"`
	UID         mailstore.UID      `json:"uid"`
	Size        int64              `json:"size"`
	SHA1        chunk.SHA1         `json:"sha1,omitzero"`
	Claim       int64              `json:"claim,omitempty"` // 0: a new one
	State       catalog.ClaimState `json:"state,omitempty"` // of the claim
	Kind        kind               `json:"kind"`
	// Take: it is taken out; else it is only written into the ledger.
	Take bool `json:"take"`
}

func (e *planEntry) place() place { return place{e.Folder, e.UIDValidity, e.UID} }

// add takes a user's part in, if there is anything to be done.
func (p *plan) add(f *finding) {
	if len(f.rulings) == 0 {
		return
	}
	u := planUser{User: f.user, Messages: f.report.Messages, Take: f.report.Take}
	for _, r := range f.rulings {
		u.entries = append(u.entries, planEntry{Folder: r.entry.folder, UIDValidity: r.entry.validity, UID: r.entry.UID, Size: r.entry.Size,
			SHA1: r.entry.SHA1, Claim: r.claim.ID, State: r.was, Kind: r.kind, Take: r.take})
	}
	p.users = append(p.users, u)
}

// write puts the plan into a file and gives its name.
func (p *plan) write(dir string) (sum, file string, err error) {
	b, err := p.encode()
	if err != nil {
		return "", "", err
	}
	if len(b) > maxPlan {
		return "", "", errors.New("too many messages for one plan: make one for some users at a time, with --user")
	}
	dir = filepath.Join(dir, planDir)
	if err := durable.MkdirAll(dir, 0o700); err != nil {
		return "", "", err
	}
	sum = fmt.Sprintf("%x", sha256.Sum256(b))
	file = filepath.Join(dir, sum)
	return sum, file, durable.WriteFile(file, b, 0o600)
}

func (p *plan) encode() ([]byte, error) {
	slices.SortFunc(p.users, func(a, b planUser) int { return cmp.Compare(a.User, b.User) })
	var b bytes.Buffer
	out := json.NewEncoder(&b)
	out.SetEscapeHTML(false)
	err := out.Encode(p.head)
	for _, u := range p.users {
		if err == nil {
			err = out.Encode(u)
		}
		for _, e := range u.entries {
			if err == nil {
				err = out.Encode(e)
			}
		}
	}
	return b.Bytes(), err
}

// readPlan reads the plan of this name.
func readPlan(dir, sum string) (*plan, error) {
	if !planName.MatchString(sum) {
		return nil, fmt.Errorf("%w: %q is no name of a plan, which is 64 digits of 0-9a-f", ErrPlan, sum)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	f, err := deliver.OpenRegular(root, filepath.Join(planDir, sum))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: there is no plan %s in %s", ErrPlan, sum, filepath.Join(dir, planDir))
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxPlan+1))
	if err != nil {
		return nil, fmt.Errorf("read plan %s: %w", sum, err)
	}
	if got := fmt.Sprintf("%x", sha256.Sum256(b)); got != sum {
		return nil, fmt.Errorf("%w: the file of plan %s was changed: its SHA-256 is %s", ErrPlan, sum, got)
	}
	p, err := decode(b)
	if err != nil {
		return nil, fmt.Errorf("%w: plan %s: %w", ErrPlan, sum, err)
	}
	return p, nil
}

// decode reads what encode has written.
func decode(b []byte) (*plan, error) {
	in := json.NewDecoder(bytes.NewReader(b))
	in.DisallowUnknownFields()
	p := &plan{}
	if err := in.Decode(&p.head); err != nil {
		return nil, err
	}
	if p.head.Version != planVersion {
		return nil, fmt.Errorf("it is of version %d, this salvor knows version %d", p.head.Version, planVersion)
	}
	for {
		var line struct {
			planEntry
			User     string `json:"user"`
			Messages int    `json:"messages"`
			// Take is a number for a user.
			Take json.RawMessage `json:"take"`
		}
		err := in.Decode(&line)
		if err == io.EOF {
			return p, p.check()
		}
		if err != nil {
			return nil, err
		}
		if line.User != "" {
			u := planUser{User: line.User, Messages: line.Messages}
			if err := json.Unmarshal(line.Take, &u.Take); err != nil {
				return nil, err
			}
			p.users = append(p.users, u)
			continue
		}
		if len(p.users) == 0 {
			return nil, errors.New("an entry is nobody's")
		}
		if err := json.Unmarshal(line.Take, &line.planEntry.Take); err != nil {
			return nil, err
		}
		last := &p.users[len(p.users)-1]
		last.entries = append(last.entries, line.planEntry)
	}
}

// check makes sure that the parts of a plan go together.
func (p *plan) check() error {
	for i, u := range p.users {
		if i > 0 && p.users[i-1].User >= u.User {
			return fmt.Errorf("user %q is out of order", u.User)
		}
		take := 0
		for j, e := range u.entries {
			if j > 0 {
				was := u.entries[j-1]
				if cmp.Or(cmp.Compare(was.Folder, e.Folder), cmp.Compare(was.UID, e.UID)) >= 0 {
					return fmt.Errorf("user %q: folder %q: UID %d is out of order", u.User, e.Folder, e.UID)
				}
			}
			if e.Take {
				take++
			}
		}
		if take != u.Take || take > u.Messages {
			return fmt.Errorf("user %q: the numbers do not add up", u.User)
		}
	}
	return nil
}
