package upkeep

import (
	"context"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"salvor/catalog"
)

// forgetNames takes the user's name out of what runs have remarked and of what
// was acknowledged. Remarks name the user's folders and files, too.
func forgetNames(ctx context.Context, tx *catalog.Tx, user string) error {
	named := func(line string) bool { return mentions(line, user) }
	var rows, gone []catalog.Row
	err := tx.Runs(ctx, 0, func(r *catalog.Run) error {
		held, problems := len(r.Held), len(r.Problems)
		r.Held = slices.DeleteFunc(r.Held, func(u string) bool { return u == user })
		r.Problems = slices.DeleteFunc(r.Problems, named)
		if len(r.Held) < held || len(r.Problems) < problems {
			rows = append(rows, *r)
		}
		return nil
	})
	if err != nil {
		return err
	}
	err = tx.Acks(ctx, func(a *catalog.Ack) error {
		if named(a.Attention) {
			gone = append(gone, *a)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := tx.Put(rows...); err != nil {
		return err
	}
	return tx.Delete(gone...)
}

// mentions tells whether a line has the name as a word of its own. A line too
// many costs a remark, one too few leaves a name.
func mentions(line, name string) bool {
	for rest := line; ; {
		i := strings.Index(rest, name)
		if i < 0 || name == "" {
			return false
		}
		before, _ := utf8.DecodeLastRuneInString(rest[:i])
		after, _ := utf8.DecodeRuneInString(rest[i+len(name):])
		if !inWord(before) && !inWord(after) {
			return true
		}
		_, n := utf8.DecodeRuneInString(rest[i:])
		rest = rest[i+n:]
	}
}

func inWord(r rune) bool {
	return r != utf8.RuneError && (unicode.IsLetter(r) || unicode.IsDigit(r))
}
