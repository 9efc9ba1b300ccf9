package imap

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"salvor/internal/mailstore"
)

// Open opens a message's bytes, which have been fetched ahead or are now.
func (s *Source) Open(ctx context.Context, box mailstore.Mailbox, m mailstore.Message) (io.ReadCloser, error) {
	validity, uid, err := splitKey(m.Key)
	if err != nil {
		return nil, err
	}
	if m.Size > s.o.MaxMessage {
		return nil, fmt.Errorf("a message of %d bytes, at most %d are fetched", m.Size, s.o.MaxMessage)
	}
	p := place{box.User, box.Name, validity, uid}
	e := s.underWay(p)
	if e == nil {
		one, done := s.use(box.User)
		defer done()
		if e, err = s.want(one, p, m.Size); err != nil {
			return nil, err
		}
	}
	select {
	case <-e.done:
	case <-ctx.Done():
		s.leave(e)
		return nil, context.Cause(ctx)
	}
	s.leave(e)
	if e.err != nil {
		return nil, e.err
	}
	return io.NopCloser(bytes.NewReader(e.body)), nil
}

// underWay gives the entry of a message that has come, or is coming. Its user's
// session is not touched: to read the last of many users' messages must not
// close the connections of the one who is listed.
func (s *Source) underWay(p place) *entry {
	a := s.ahead
	a.mu.Lock()
	defer a.mu.Unlock()
	e := a.asked[p]
	if e == nil || e.stage == queued {
		return nil
	}
	e.wanted = true
	a.trim(e.number)
	return e
}

// want finds or makes the entry of a message that somebody waits for now.
func (s *Source) want(one *session, p place, size int64) (*entry, error) {
	a := s.ahead
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return nil, errClosed
	}
	e := a.asked[p]
	if e == nil {
		e = a.add(p, size)
	}
	e.wanted = true
	a.trim(e.number)
	if e.stage == queued {
		one.fetcher.urgent = append(one.fetcher.urgent, e)
		one.fetcher.start()
	}
	return e, nil
}

// leave gives an entry's room back when its reader has it, or has gone.
func (s *Source) leave(e *entry) {
	s.ahead.mu.Lock()
	defer s.ahead.mu.Unlock()
	s.ahead.forget(e)
}
