package conformance

import (
	"fmt"
	"regexp"
	"slices"
	"sort"
	"strings"
	"time"

	"salvor/internal/testenv/imaptest"
)

// Seed fills a user's empty account: folders with odd names, messages of many
// kinds, flags, keywords, dates, subscriptions and a special use. Every server
// takes all of it; a Dovecot needs SpecialUse in its configuration.
func Seed(c *imaptest.Client) {
	for _, name := range []string{"Work", "Work/2024", "Entw&APw-rfe", "&ZeVnLIqe-", "&ZeVnLIqe-/&W1A-", "it's 100 odd &- so on", "Empty", "Gone"} {
		c.Create(name)
	}
	c.Do(`CREATE Sent (USE (\Sent))`)
	for _, name := range []string{"INBOX", "Work/2024", "Entw&APw-rfe", "Sent"} {
		c.Do("SUBSCRIBE %s", imaptest.Quote(name))
	}
	for i, name := range []string{"INBOX", "Work/2024", "Entw&APw-rfe", "&ZeVnLIqe-/&W1A-", "it's 100 odd &- so on", "Sent"} {
		list := samples()
		if i > 0 {
			list = slices.DeleteFunc(list, func(s sample) bool { return s.name == "large" })
		}
		appendAll(c, name, list)
		c.Append(name, fmt.Sprintf("Subject: only in %d\r\n\r\n", i), time.Date(2007, 8, 1, 12, 0, i, 0, time.UTC), "only")
	}
	c.Select("INBOX") // UIDs with gaps, a flag that comes and goes, a moved message
	c.Expunge("2,5")
	c.Do("UID MOVE 3 Work")
	c.Store("1", "+FLAGS", `\Seen`, "later")
	c.Store("1", "-FLAGS", "later")
	c.Do("DELETE Gone")
}

// SpecialUse is what Dovecot keeps special uses by: it takes them with CREATE and
// forgets them.
const SpecialUse = "namespace inbox {\n  mailbox Sent {\n    special_use = \\Sent\n  }\n}\n"

// A View says what of an account is compared.
type View struct {
	UIDs bool // with UIDVALIDITY
	// Subscriptions and SpecialUse are compared too.
	Subscriptions, SpecialUse bool
	// Below leaves out all folders but those below this one, and its name.
	Below string
}

var specialUse = regexp.MustCompile(`\\(All|Archive|Drafts|Flagged|Junk|Sent|Trash)\b`)

// Account describes a user's account as a client sees it: one line for each
// folder and each message, in an order that does not depend on the server.
func Account(c *imaptest.Client, v View) []string {
	var out []string
	subscribed := c.Subscribed()
	for _, wire := range c.List() {
		name, ok := strings.CutPrefix(decode(wire), v.Below)
		if !ok {
			continue
		}
		line := fmt.Sprintf("%s:", name)
		f := c.Examine(wire)
		if v.UIDs {
			line += fmt.Sprintf(" uidvalidity %d", f.UIDValidity)
		}
		if v.Subscriptions && slices.Contains(subscribed, wire) {
			line += " subscribed"
		}
		if v.SpecialUse {
			line += specialUse.FindString(fmt.Sprint(c.Do(`LIST (SPECIAL-USE) "" %s`, imaptest.Quote(wire))))
		}
		out = append(out, line)
		for _, m := range f.Messages {
			line := fmt.Sprintf("%s: %s (%s) %s", name, id(m.Body).Short(), strings.Join(m.Flags, " "), m.InternalDate.UTC().Format(time.RFC3339))
			if v.UIDs {
				line += fmt.Sprintf(" uid %d", m.UID)
			}
			out = append(out, line)
		}
	}
	sort.Strings(out)
	return out
}

// Diff gives the lines that only one of two lists has.
func Diff(got, want []string) string {
	var b strings.Builder
	count := map[string]int{}
	for _, l := range got {
		count[l]++
	}
	for _, l := range want {
		count[l]--
	}
	var lines []string
	for l, n := range count {
		for ; n > 0; n-- {
			lines = append(lines, "not wanted: "+l)
		}
		for ; n < 0; n++ {
			lines = append(lines, "missing:    "+l)
		}
	}
	sort.Strings(lines)
	for i, l := range lines {
		if i == 20 {
			fmt.Fprintf(&b, "… %d more\n", len(lines)-i)
			break
		}
		b.WriteString(l + "\n")
	}
	return b.String()
}
