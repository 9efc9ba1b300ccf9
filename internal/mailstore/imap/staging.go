package imap

import (
	"context"
	"fmt"
	"io"
	"time"

	"salvor/chunk"
	"salvor/internal/mailstore/imap/cyrussync"
	"salvor/internal/mailstore/imap/wire"
)

// A staging leaves contents with the session of a Cyrus administrator, in
// batches: one is built while the server still stores the one before it. They
// are gone with the session.
type staging struct {
	conn      *wire.Conn
	pending   *wire.Pending
	partition string
	buf       []byte
	count     int // files in buf
	left      map[chunk.SHA1]bool
	used      time.Time // when the connection was used last
	err       error
}

// What is sent at once.
const (
	stageBytes = 1 << 20
	stageFiles = 256
)

// lose notes that the session is over.
func (s *staging) lose(err error) {
	if s.err == nil && len(s.left) > 0 {
		s.err = fmt.Errorf("what was sent to be restored with its UIDs went down with the connection: %w", err)
	}
}

// put leaves a content, unless it is there already.
func (s *staging) put(ctx context.Context, a *admin, partition string, sum chunk.SHA1, content []byte) error {
	if s.err != nil || s.left[sum] {
		return s.err
	}
	if s.conn == nil {
		conn, err := a.link.connect(ctx)
		if err != nil {
			return err
		}
		s.conn, s.partition, s.left, s.used = conn, partition, map[chunk.SHA1]bool{}, time.Now()
	}
	if s.count > 0 && len(s.buf)+len(content) > stageBytes || s.count >= stageFiles || s.partition != partition {
		if err := s.flush(ctx); err != nil {
			return err
		}
	}
	s.partition = partition
	if s.count == 0 {
		s.buf = append(s.buf[:0], cyrussync.MessagesHead...)
	}
	s.buf = cyrussync.AppendFile(s.buf, partition, sum, content)
	s.left[sum] = true
	s.count++
	return nil
}

// idle is after how long a session is shown that somebody is there: servers end
// those that are silent for half an hour.
const idle = 5 * time.Minute

// keep keeps the session while other folders take their time.
func (s *staging) keep(ctx context.Context) error {
	if s.conn == nil || s.err != nil || time.Since(s.used) < idle {
		return nil
	}
	s.used = time.Now()
	if err := s.conn.Noop(ctx); err != nil {
		s.lose(err)
	}
	return s.err
}

// flush sends what waits.
func (s *staging) flush(ctx context.Context) error {
	if err := s.wait(ctx); err != nil || s.count == 0 {
		return err
	}
	s.buf, s.used = append(s.buf, cyrussync.MessagesEnd...), time.Now()
	p, err := s.conn.StartWritten(ctx, wire.NewCommand("SYNCAPPLY"), func(w io.Writer) error {
		_, err := w.Write(s.buf)
		return err
	})
	if err != nil {
		s.lose(err)
		return s.err
	}
	s.pending, s.count = p, 0
	if cap(s.buf) > 4*stageBytes { // after one large message
		s.buf = nil
	}
	return nil
}

// wait waits for the batch under way.
func (s *staging) wait(ctx context.Context) error {
	if s.pending != nil && s.err == nil {
		if _, err := s.pending.Wait(ctx); err != nil {
			s.lose(err)
		}
		s.pending = nil
	}
	return s.err
}

// settle makes sure that everything is with the server's session, and that the
// administrator's connection is still that one.
func (s *staging) settle(ctx context.Context, a *admin) error {
	if s.conn == nil {
		return nil
	}
	if err := s.flush(ctx); err != nil {
		return err
	}
	if err := s.wait(ctx); err != nil {
		return err
	}
	if err := s.conn.Err(); err != nil || a.link.conn != s.conn {
		s.lose(err)
	}
	return s.err
}
