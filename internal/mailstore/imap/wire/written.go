package wire

import (
	"bufio"
	"context"
	"io"
	"strings"
)

// After gives what follows the answer's name, as it came: for answers that are
// no IMAP values, such as those of Cyrus' replication.
func (r *Response) After() []Part {
	parts := append([]Part(nil), r.Parts...)
	parts[0].Text = parts[0].Text[r.rest:]
	return parts
}

// AskedLiteral ends the command with a literal that is sent when the server has
// asked for it, whatever it announces. Dovecot 2.3 refuses an APPEND with a flag
// that it does not know before it reads the literal, and then carries out lines
// of a LITERAL+ as commands: what comes out of a message must not.
func (c *Command) AskedLiteral(body []byte, eight bool) *Command {
	mark := ""
	if eight {
		mark = "~"
	}
	c.Raw(" " + mark + "{" + utoa(uint64(len(body))) + "}")
	return c.onChallenge(func(string) string {
		c.asked = true
		var b strings.Builder
		b.Write(body)
		return b.String()
	})
}

// Asked tells, of a command with an AskedLiteral that has ended, whether the server
// has asked for the literal. If not, it has nothing of it.
func (c *Command) Asked() bool { return c.asked }

// StartWritten sends a command whose arguments write writes as they go over the
// wire, after a blank. They may hold literals that nobody asks for: it is meant
// for Cyrus' replication, which has no others.
func (c *Conn) StartWritten(ctx context.Context, cmd *Command, write func(w io.Writer) error) (*Pending, error) {
	stop := context.AfterFunc(ctx, func() { c.fail(context.Cause(ctx)) })
	defer stop()
	c.sending.Lock()
	defer c.sending.Unlock()
	p := &Pending{c: c, cmd: cmd, goOn: make(chan string, 1), done: make(chan struct{}), writing: true}
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return nil, c.err
	}
	c.tags++
	p.tag = "a" + utoa(uint64(c.tags))
	c.inflight = append(c.inflight, p)
	c.timed.busy(true)
	c.mu.Unlock()
	if err := sendWritten(c.bw, p.tag+" "+cmd.name+" ", write); err != nil {
		c.fail(err)
		if cause := context.Cause(ctx); cause != nil {
			return nil, cause
		}
		return nil, c.Err()
	}
	c.mu.Lock()
	p.writing = false
	c.watch()
	c.mu.Unlock()
	return p, nil
}

func sendWritten(bw *bufio.Writer, head string, write func(io.Writer) error) error {
	if _, err := bw.WriteString(head); err != nil {
		return err
	}
	if err := write(bw); err != nil {
		return err
	}
	if _, err := bw.WriteString("\r\n"); err != nil {
		return err
	}
	return bw.Flush()
}
