package wire

import (
	"bufio"
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// script is a server for one connection: "S: line" is sent, "C: line" must
// come, "D: n" reads n bytes, "wait" waits a little, "hang" keeps silent, "close" hangs up. "S> text"
// sends text as it is, without a line end.
func script(t *testing.T, lines ...string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	stop := make(chan struct{})
	go func() {
		defer close(done)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		in := bufio.NewReader(c)
		for _, line := range lines {
			verb, rest, _ := strings.Cut(line, " ")
			switch verb {
			case "S:":
				io.WriteString(c, rest+"\r\n")
			case "S>":
				io.WriteString(c, rest)
			case "C:":
				got, err := in.ReadString('\n')
				if err != nil || rest != "*" && strings.TrimRight(got, "\r\n") != rest {
					t.Errorf("the client sends %q, %v, want %q", got, err, rest)
					return
				}
			case "D:":
				buf := make([]byte, len(rest))
				if _, err := io.ReadFull(in, buf); err != nil || string(buf) != rest {
					t.Errorf("the client sends %q, %v, want %q", buf, err, rest)
				}
			case "wait":
				time.Sleep(50 * time.Millisecond)
			case "hang":
				<-stop
			case "close":
				return
			}
		}
		io.Copy(io.Discard, in)
	}()
	t.Cleanup(func() { close(stop); l.Close(); <-done })
	return l.Addr().String()
}

func dial(t *testing.T, lines ...string) *Conn {
	t.Helper()
	c, err := Dial(t.Context(), Options{Addr: script(t, lines...), Security: Insecure, Idle: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestLogin(t *testing.T) {
	hello := "S: * OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] hi"
	bare := "S: * OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] hi"
	for name, c := range map[string]struct {
		cr    Credentials
		lines []string
		fails string
	}{
		"plain": {Credentials{User: "admin", As: "alice", Secret: "pw"},
			[]string{hello, "C: a1 AUTHENTICATE PLAIN YWxpY2UAYWRtaW4AcHc=", "S: a1 OK [CAPABILITY X] done"}, ""},
		"plain without SASL-IR": {Credentials{User: "admin", Secret: "pw"},
			[]string{bare, "C: a1 AUTHENTICATE PLAIN", "S: + ", "C: AGFkbWluAHB3", "S: * CAPABILITY X", "S: a1 OK done", "C: a2 CAPABILITY", "S: * CAPABILITY X", "S: a2 OK done"}, ""},
		"capabilities asked for": {Credentials{User: "admin", Secret: "pw"},
			[]string{"S: * OK hi", "C: a1 CAPABILITY", "S: * CAPABILITY IMAP4rev1", "S: a1 OK .", `C: a2 LOGIN "admin" "pw"`, "S: a2 OK [CAPABILITY X] done"}, ""},
		"separator and odd password": {Credentials{User: "admin", As: "alice", Secret: `p"w`, Separator: "*", Mechanism: "login"},
			[]string{hello, `C: a1 LOGIN "alice*admin" {3}`, "S: + go", `D: p"w`, "C: ", "S: a1 OK [CAPABILITY X] done"}, ""},
		"wrong": {Credentials{User: "admin", Secret: "pw55"},
			[]string{hello, "C: a1 AUTHENTICATE PLAIN AGFkbWluAHB3NTU=", "S: a1 NO [AUTHENTICATIONFAILED] not pw55, AGFkbWluAHB3NTU="}, "the server answers AUTHENTICATE with NO [AUTHENTICATIONFAILED] not …, …"},
		"bearer": {Credentials{User: "a,b", Secret: "tok", Mechanism: OAuthBearer},
			[]string{hello, "C: *", "S: a1 OK [CAPABILITY X] done"}, ""},
		"bearer refused": {Credentials{User: "a", Secret: "tok", Mechanism: OAuthBearer},
			[]string{hello, "C: *", "S: + e30=", "C: AQ==", "S: a1 NO no"}, "with NO no"},
		"xoauth2 refused": {Credentials{User: "a", Secret: "tok", Mechanism: "xoauth2"},
			[]string{bare, "C: a1 AUTHENTICATE XOAUTH2", "S: + ", "C: dXNlcj1hAWF1dGg9QmVhcmVyIHRvawEB", "S: + e30=", "C: ", "S: a1 NO no"}, "with NO no"},
		"disabled":     {Credentials{User: "a", Secret: "b"}, []string{"S: * OK [CAPABILITY LOGINDISABLED] hi"}, "use TLS"},
		"no separator": {Credentials{User: "a", As: "b", Mechanism: "login"}, []string{hello}, "no separator"},
		"unknown":      {Credentials{Mechanism: "gssapi"}, []string{hello}, "unknown way"},
	} {
		t.Run(name, func(t *testing.T) {
			err := dial(t, c.lines...).Login(t.Context(), c.cr)
			if c.fails == "" && err != nil || c.fails != "" && (err == nil || !strings.Contains(err.Error(), c.fails)) {
				t.Errorf("Login: %v, want %q", err, c.fails)
			}
		})
	}
}

func TestPipelining(t *testing.T) {
	c := dial(t, "S: * OK [CAPABILITY IMAP4rev1] hi",
		`C: a1 STATUS "A" (MESSAGES)`, `C: a2 STATUS "B" (MESSAGES)`, `C: a3 STATUS {2}`, "S: * STATUS A (MESSAGES 1)", "S: a1 OK .", "S: * 5 EXISTS",
		"S: * STATUS B (MESSAGES 2)", "S: a2 NO [NONEXISTENT] gone", "S: + go", `D: C"`, "C:  (MESSAGES)", "S: * STATUS {2}", `S> C"`, "S:  (MESSAGES 3)", "S: a3 OK .")
	var got []uint64
	var errs []string
	err := c.Statuses(t.Context(), []string{"A", "B", `C"`}, "MESSAGES", func(s Status) error {
		got, errs = append(got, s.Uint("MESSAGES")), append(errs, CodeOf(s.Err))
		return nil
	})
	if err != nil || got[0] != 1 || got[1] != 2 || got[2] != 3 || errs[1] != "NONEXISTENT" || errs[0] != "" {
		t.Errorf("%v %v %v", got, errs, err)
	}
}

func TestLiteralsOnlyAsAnnounced(t *testing.T) {
	for caps, want := range map[string][]string{
		"IMAP4rev1": {`C: a1 APPEND "x" {5}`, "S: + go", "D: abcde", "C: ", "S: a1 OK [APPENDUID 1 2] ."},
		"LITERAL+":  {`C: a1 APPEND "x" {5+}`, "D: abcde", "C: ", "S: a1 OK ."},
		"LITERAL-":  {`C: a1 APPEND "x" {5+}`, "D: abcde", "C: ", "S: a1 OK ."},
	} {
		c := dial(t, append([]string{"S: * OK [CAPABILITY " + caps + "] hi"}, want...)...)
		if _, err := c.Do(t.Context(), NewCommand("APPEND").String("x").Raw(" ").Literal(5, strings.NewReader("abcde"))); err != nil {
			t.Error(err)
		}
	}
	big := strings.Repeat("x", 5000)
	c := dial(t, "S: * OK [CAPABILITY LITERAL- BINARY] hi", `C: a1 APPEND "x" ~{5000}`, "S: a1 NO [TRYCREATE] no", "C: a2 NOOP", "S: a2 OK .")
	_, err := c.Do(t.Context(), NewCommand("APPEND").String("x").Raw(" ").Literal8(5000, strings.NewReader(big)))
	if CodeOf(err) != "TRYCREATE" {
		t.Errorf("%v", err)
	}
	if err := c.Noop(t.Context()); err != nil {
		t.Errorf("the connection is not usable after a refused literal: %v", err)
	}
}

func TestHostileServers(t *testing.T) {
	hello := "S: * OK [CAPABILITY IMAP4rev1] hi"
	flood := make([]string, 0, 70)
	for range 70 {
		flood = append(flood, "S> "+strings.Repeat("* OK "+strings.Repeat("y", 1000)+"\r\n", 1000))
	}
	for name, c := range map[string]struct {
		lines []string
		want  string
	}{
		"hangs":             {[]string{hello, "C: a1 NOOP", "hang"}, "has not answered for 300ms"},
		"hangs in a line":   {[]string{hello, "C: a1 NOOP", "S> * OK", "hang"}, "has not answered for 300ms"},
		"hangs up":          {[]string{hello, "C: a1 NOOP", "close"}, "the server hung up"},
		"says good-bye":     {[]string{hello, "C: a1 NOOP", "S: * BYE maintenance\a", "close"}, "the server hung up: maintenance?"},
		"cuts a literal":    {[]string{hello, "C: a1 NOOP", "S: * LIST {9}", "S> ab", "close"}, "hung up"},
		"lies about a size": {[]string{hello, "C: a1 NOOP", "S: * 1 FETCH (BODY[] {4000000000}"}, "a literal of 4000000000 bytes, at most 1048576"},
		"endless line":      {[]string{hello, "C: a1 NOOP", "S> " + strings.Repeat("* x", 1<<20)}, "a line of"},
		"endless answers":   {append([]string{hello, "C: a1 NOOP"}, flood...), "without end"},
		"garbage":           {[]string{hello, "C: a1 NOOP", "S> \x00\x01\x02\r\n"}, "no IMAP"},
		"an unknown tag":    {[]string{hello, "C: a1 NOOP", "S: a7 OK ."}, "an answer to no command"},
		"wants more":        {[]string{hello, "C: a1 NOOP", "S: + more"}, "asks for more"},
		"neither OK nor NO": {[]string{hello, "C: a1 NOOP", "S: a1 MAYBE ."}, "no OK, NO or BAD"},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := Dial(t.Context(), Options{Addr: script(t, c.lines...), Security: Insecure, Idle: 300 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			err = conn.Noop(t.Context())
			if err == nil || !strings.Contains(err.Error(), c.want) || !IsBroken(err) || strings.Contains(err.Error(), "\n") {
				t.Errorf("Noop: %v, want %q", err, c.want)
			}
			if err := conn.Noop(t.Context()); !IsBroken(err) {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
}

func TestGreetings(t *testing.T) {
	for name, c := range map[string]struct {
		security Security
		lines    []string
		want     string
	}{
		"BYE":              {Insecure, []string{"S: * BYE too busy"}, "refuses the connection: too busy"},
		"another service":  {Insecure, []string{"S: SSH-2.0-OpenSSH"}, "no name"},
		"silence":          {Insecure, []string{"hang"}, "has not answered"},
		"no TLS":           {TLS, []string{"S: * OK hi"}, "does not speak TLS"},
		"STARTTLS refused": {StartTLS, []string{"S: * OK hi", "C: s STARTTLS", "S: s BAD what"}, "does not begin TLS: BAD what"},
		"injected":         {StartTLS, []string{"S: * OK hi", "C: s STARTTLS", "S> s OK go\r\n* OK [CAPABILITY EVIL] x\r\n"}, "more before TLS"},
		"PREAUTH":          {StartTLS, []string{"S: * PREAUTH hi"}, "logged in before TLS"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Dial(t.Context(), Options{Addr: script(t, c.lines...), Security: c.security, Idle: 300 * time.Millisecond})
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("Dial: %v, want %q", err, c.want)
			}
		})
	}
	_, err := Dial(t.Context(), Options{Addr: "127.0.0.1:1"})
	if err == nil || !strings.Contains(err.Error(), "refused (is the server running") {
		t.Errorf("Dial: %v", err)
	}
}

// A context that ends frees whoever waits, at once.
func TestContextEndsWaiting(t *testing.T) {
	c := dial(t, "S: * OK [CAPABILITY IMAP4rev1] hi", "C: a1 NOOP", "hang")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := c.Noop(ctx); err != context.DeadlineExceeded {
		t.Errorf("Noop: %v", err)
	}
	if c.Err() == nil {
		t.Error("the connection is still open")
	}
}

func TestSearch(t *testing.T) {
	c := dial(t, "S: * OK [CAPABILITY ESEARCH] hi", "C: a1 UID SEARCH RETURN (ALL) ALL", `S: * ESEARCH (TAG "a1") UID ALL 2,4:6`, "S: a1 OK .",
		"C: a2 UID SEARCH RETURN (ALL) ALL", `S: * ESEARCH (TAG "a2") UID`, "S: a2 OK .", "C: a3 UID SEARCH RETURN (ALL) ALL", "S: * SEARCH 9 7 8 (MODSEQ 5)", "S: a3 OK .")
	for _, want := range []string{"2,4:6", "", "7:9"} {
		s, err := c.Search(t.Context(), "ALL")
		if err != nil || s.String() != want {
			t.Errorf("Search = %q, %v, want %q", s, err, want)
		}
	}
}
