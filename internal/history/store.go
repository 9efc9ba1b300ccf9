package history

import (
	"context"
	"slices"

	"salvor/catalog"
	"salvor/chunk"
	"salvor/internal/vault"
)

// A Store brings contents into a change, one at a time: cut, and of the pieces only
// those that the vault lacks. It is for what is found now and then; the nightly
// backup has a pipeline. It is not for concurrent use.
type Store struct {
	c      *Change
	packer *vault.Packer
	cutter *chunk.Cutter
}

// Store makes a Store of the change. It needs recipients only: who stores cannot
// read it again.
func (c *Change) Store(ctx context.Context) (*Store, error) {
	packer, err := c.Packer(ctx)
	if err != nil {
		return nil, err
	}
	cutter, err := chunk.NewCutter(c.Cutting())
	if err != nil {
		return nil, err
	}
	return &Store{c: c, packer: packer, cutter: cutter}, nil
}

// Put stores a message's bytes where the vault has not got them. after is called
// when the catalog knows its content: what refers to that is put there. It gets the
// message without recipe and parts. envelope fills in what a content is searched by.
func (s *Store) Put(stored []byte, envelope func(*catalog.Content, []byte), after func(*chunk.Message) error) error {
	m := s.cutter.Cut(stored)
	named := chunk.Message{ID: m.ID, SHA1: m.SHA1, Size: m.Size, Stored: m.Stored, StoredSize: m.StoredSize, LineEnds: m.LineEnds}
	ref := chunk.Ref{Kind: chunk.KindMessage, ID: m.ID}
	known := s.packer.Pending(ref)
	if !known {
		var err error
		if known, err = s.c.Tx.HasContent(m.ID); err != nil {
			return err
		}
	}
	if !known {
		if err := s.content(m, ref, envelope); err != nil {
			return err
		}
	}
	return s.packer.After(func() error { return after(&named) })
}

func (s *Store) content(m *chunk.Message, ref chunk.Ref, envelope func(*catalog.Content, []byte)) error {
	content := catalog.Content{ID: m.ID, SHA1: m.SHA1, Size: m.Size}
	var parts []catalog.Row
	for _, p := range m.Parts {
		ref, row, err := s.part(p)
		if err != nil {
			return err
		}
		content.Parts = append(content.Parts, ref)
		if row != nil {
			parts = append(parts, row)
		}
	}
	if err := s.packer.Add(ref, m.Recipe); err != nil {
		return err
	}
	envelope(&content, m.Header)
	return s.packer.After(func() error { return s.c.Tx.Put(append(parts, content)...) })
}

// part adds what the vault lacks of a part, and says under which reference it is
// found, with its row where it has several chunks.
func (s *Store) part(p chunk.Part) (ref chunk.Ref, row catalog.Row, err error) {
	pieces := slices.Clone(s.cutter.Split(p.Data))
	if len(pieces) == 1 {
		ref = chunk.Ref{Kind: chunk.KindData, ID: p.ID}
		return ref, nil, s.add(ref, pieces[0])
	}
	ids := make([]chunk.ID, len(pieces))
	for i, piece := range pieces {
		ids[i] = chunk.Sum(piece)
		if err := s.add(chunk.Ref{Kind: chunk.KindData, ID: ids[i]}, piece); err != nil {
			return ref, nil, err
		}
	}
	ref = chunk.Ref{Kind: chunk.KindPart, ID: p.ID}
	size := int64(len(p.Data))
	return ref, catalog.Part{ID: p.ID, Size: size, Chunks: ids}, s.add(ref, chunk.EncodePartList(ids, size))
}

func (s *Store) add(ref chunk.Ref, data []byte) error {
	if s.packer.Pending(ref) {
		return nil
	}
	has, err := s.c.Tx.HasChunk(ref)
	if err != nil || has {
		return err
	}
	return s.packer.Add(ref, data)
}
