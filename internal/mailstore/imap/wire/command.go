package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// A Command is built piece by piece and sent once.
type Command struct {
	// Handle is called with each untagged answer that no older command in
	// flight has taken, and says whether it belongs to this one. It runs on the
	// connection's reader: it must not wait for anything of the same
	// connection. An error ends the connection.
	Handle func(*Response) (mine bool, err error)
	// MaxText and MaxLiteral bound one answer's text and each of its literals,
	// in bytes; 0 means 1 MiB.
	MaxText, MaxLiteral int64
	// MaxAnswers bounds the answers that Handle takes; 0 means 1048576.
	MaxAnswers int64

	name    string
	parts   []piece
	secrets []string
	more    bool // another follows at once: it need not be on its way before
	asked   bool // see Asked; the sender's
}

// A piece of a command is text, a literal, or an answer to a "+".
type piece struct {
	text   string
	body   io.Reader // nil: none
	size   int64
	eight  bool                          // literal8 (RFC 3516)
	answer func(challenge string) string // nil: none
}

// NewCommand begins a command, such as "UID FETCH".
func NewCommand(name string) *Command {
	return &Command{name: name, parts: []piece{{text: name}}}
}

// Name is the command's name.
func (c *Command) Name() string { return c.name }

// Raw adds text as it is. It must hold no line end.
func (c *Command) Raw(text string) *Command {
	last := &c.parts[len(c.parts)-1]
	if last.body != nil || last.answer != nil {
		c.parts = append(c.parts, piece{text: text})
		return c
	}
	last.text += text
	return c
}

// String adds a blank and a string: quoted, or as a literal when it holds what
// servers differ about in quoted ones.
func (c *Command) String(s string) *Command {
	if quotable(s) {
		return c.Raw(` "` + s + `"`)
	}
	return c.Raw(" ").Literal(int64(len(s)), strings.NewReader(s))
}

// quotable leaves everything but plain printable ASCII to literals. A quoted
// backslash or quotation mark is right, but not every server knows.
func quotable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' || s[i] == '"' || s[i] == '\\' {
			return false
		}
	}
	return len(s) < 1024
}

// Literal adds size bytes as a literal, without a blank before it.
func (c *Command) Literal(size int64, body io.Reader) *Command {
	c.parts = append(c.parts, piece{body: body, size: size})
	return c
}

// Literal8 adds size bytes that may hold NUL as a literal8 (RFC 3516); only for
// servers with BINARY.
func (c *Command) Literal8(size int64, body io.Reader) *Command {
	c.parts = append(c.parts, piece{body: body, size: size, eight: true})
	return c
}

// onChallenge answers the server's next "+" with a line.
func (c *Command) onChallenge(answer func(challenge string) string) *Command {
	c.parts = append(c.parts, piece{answer: answer})
	return c
}

// secret keeps text out of errors.
func (c *Command) secret(s string) *Command {
	if s != "" {
		c.secrets = append(c.secrets, s)
	}
	return c
}

func (c *Command) censor(text string) string {
	for _, s := range c.secrets {
		text = strings.ReplaceAll(text, s, "…")
	}
	return text
}

// Start sends a command without waiting for its end. It waits for the server's
// consent to literals where that is needed.
func (c *Conn) Start(ctx context.Context, cmd *Command) (*Pending, error) {
	stop := context.AfterFunc(ctx, func() { c.fail(context.Cause(ctx)) })
	defer stop()
	c.sending.Lock()
	defer c.sending.Unlock()
	p := &Pending{c: c, cmd: cmd, goOn: make(chan string, 1), done: make(chan struct{})}
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return nil, c.err
	}
	c.tags++
	p.tag = "a" + strconv.Itoa(c.tags)
	c.inflight = append(c.inflight, p)
	c.timed.busy(true)
	c.watch()
	caps := c.caps
	c.mu.Unlock()
	if err := p.send(caps); err != nil {
		if err = ended(err); err == errHungUp { // the reader may still find its BYE
			select {
			case <-c.done:
			case <-time.After(time.Second):
			}
		}
		c.fail(err)
		<-c.silent
		if cause := context.Cause(ctx); cause != nil {
			return nil, cause
		}
		return nil, c.Err()
	}
	return p, nil
}

// errRefusedEarly ends the sending of a command that the server has answered.
var errRefusedEarly = errors.New("answered before it was sent")

func (p *Pending) send(caps Caps) error {
	p.c.bw.WriteString(p.tag + " ")
	for i := range p.cmd.parts {
		err := p.sendPiece(&p.cmd.parts[i], caps)
		if err == errRefusedEarly {
			return p.c.bw.Flush()
		}
		if err != nil {
			return err
		}
	}
	// A line ends after the last piece, unless an answer to "+" has brought one.
	if p.cmd.parts[len(p.cmd.parts)-1].answer == nil {
		p.c.bw.WriteString("\r\n")
	}
	if p.cmd.more {
		return nil
	}
	return p.c.bw.Flush()
}

func (p *Pending) sendPiece(part *piece, caps Caps) error {
	bw := p.c.bw
	if part.answer != nil {
		return p.sendAnswer(part)
	}
	if strings.ContainsAny(part.text, "\r\n\x00") {
		return fmt.Errorf("a line end within the command %s", p.cmd.name)
	}
	if _, err := bw.WriteString(part.text); err != nil || part.body == nil {
		return err
	}
	mark := ""
	if part.eight {
		mark = "~"
	}
	// Data that nobody has asked for goes only to servers that announce they
	// take it: others would read it as commands.
	free := caps.Has("LITERAL+") || caps.Has("LITERAL-") && part.size <= 4096
	if free {
		fmt.Fprintf(bw, "%s{%d+}\r\n", mark, part.size)
	} else {
		fmt.Fprintf(bw, "%s{%d}\r\n", mark, part.size)
		if _, err := p.awaitGoOn(); err != nil {
			return err
		}
	}
	n, err := io.Copy(bw, io.LimitReader(part.body, part.size))
	if err == nil && n != part.size {
		err = fmt.Errorf("a literal of %d bytes was to be sent, and there are %d", part.size, n)
	}
	return err
}

// sendAnswer ends the line before it, if there is one, and answers the "+".
func (p *Pending) sendAnswer(part *piece) error {
	if part == p.firstAnswer() {
		p.c.bw.WriteString("\r\n")
	}
	challenge, err := p.awaitGoOn()
	if err != nil {
		return err
	}
	_, err = p.c.bw.WriteString(part.answer(challenge) + "\r\n")
	return err
}

func (p *Pending) firstAnswer() *piece {
	for i := range p.cmd.parts {
		if p.cmd.parts[i].answer != nil {
			return &p.cmd.parts[i]
		}
	}
	return nil
}

// awaitGoOn sends what is written and waits for a "+".
func (p *Pending) awaitGoOn() (string, error) {
	p.c.mu.Lock()
	p.waiting = true
	p.c.mu.Unlock()
	if err := p.c.bw.Flush(); err != nil {
		return "", err
	}
	select {
	case challenge := <-p.goOn:
		return challenge, nil
	case <-p.done:
		return "", errRefusedEarly
	case <-p.c.done:
		return "", p.c.Err()
	}
}
