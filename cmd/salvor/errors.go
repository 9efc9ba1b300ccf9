package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"salvor/catalog"
	"salvor/internal/config"
	"salvor/internal/history"
	"salvor/internal/objstore"
	"salvor/internal/vault"
)

// The exit codes; docs/operations.md lists them.
const (
	exitFailed      = 1
	exitUsage       = 2
	exitIncomplete  = 3
	exitNoVault     = 10
	exitLocked      = 11
	exitNoIdentity  = 12
	exitInterrupted = 130
)

// codeError is an error with its exit code and what to do about it.
type codeError struct {
	err  error
	code int // 0: by the error itself
	hint string
}

func (e *codeError) Error() string { return e.err.Error() }
func (e *codeError) Unwrap() error { return e.err }

func usagef(format string, args ...any) *codeError {
	return &codeError{err: fmt.Errorf(format, args...), code: exitUsage}
}

// incompletef says that a command did its work, but not all of it.
func incompletef(format string, args ...any) error {
	return &codeError{err: fmt.Errorf(format, args...), code: exitIncomplete}
}

// withHint adds what to do to an error that does not say so itself.
func withHint(err error, hint string) error {
	if err == nil {
		return nil
	}
	return &codeError{err: err, hint: hint}
}

// exitCode maps an error to the documented code.
func exitCode(err error) int {
	if err == nil {
		return 0
	}
	for _, known := range []struct {
		is   error
		code int
	}{
		{context.Canceled, exitInterrupted},
		{vault.ErrNoVault, exitNoVault},
		{vault.ErrLocked, exitLocked},
		{catalog.ErrBusy, exitLocked},
		{vault.ErrNoIdentity, exitNoIdentity},
		{history.ErrNoKey, exitNoIdentity},
		{objstore.ErrURL, exitUsage},
		{vault.ErrRecipients, exitUsage},
	} {
		if errors.Is(err, known.is) {
			return known.code
		}
	}
	var coded *codeError
	for e := err; errors.As(e, &coded); e = coded.err {
		if coded.code != 0 {
			return coded.code
		}
	}
	var line *config.Error
	if errors.As(err, &line) {
		return exitUsage
	}
	return exitFailed
}

// hints are what to do about errors that come from below without advice.
var hints = []struct {
	is   error
	hint string
}{
	{vault.ErrNoVault, "look at --vault, or make one: `salvor init`, or `salvor backup --create SOURCE`"},
	{vault.ErrLocked, "wait until the other salvor is done, or look at it on the host named here; a dead one lets go after a minute"},
	{vault.ErrNoIdentity, "give the vault's identity file with --identity FILE, or SALVOR_IDENTITY_COMMAND"},
	{history.ErrNoKey, "give the vault's identity file with --identity FILE once; later the host's own key is enough"},
	{history.ErrNoWriter, "`salvor key add` lets this host write to the vault"},
	{vault.ErrRolledBack, "the vault has lost commits that this host has seen: somebody restored or cut it. Keep a copy of both before anything else; docs/runbook.md, \"The vault was rolled back\""},
	{vault.ErrNotAuthentic, "somebody without the vault's keys has written to it, or --vault names another vault; docs/runbook.md, \"Something is not authentic\""},
	{vault.ErrReplica, "name the vault that it follows with --vault; where that one is lost, `salvor copy --promote --to COPY` makes the copy a vault of its own"},
	{vault.ErrDiverged, "keep both as they are and look which one has the newer nights (`salvor status --vault ...`); docs/runbook.md, \"The copy has gone its own way\""},
	{vault.ErrNotLocking, "make a bucket with object lock (`salvor init --make-bucket` makes one), or leave out --lock-days"},
	{vault.ErrVaultExists, "use it as it is, or name another place with --vault"},
	{objstore.ErrFull, "make room where the vault lies and run the same command again; the vault is as it was before"},
	{objstore.ErrDenied, "look at the owner and the permissions, or at the bucket's credentials"},
	{objstore.ErrUnavailable, "try again when the store answers; the vault is as it was before"},
}

// explain parts an error into one line and a hint.
func explain(err error) (line, hint string) {
	line, hint = splitHint(err.Error())
	var coded *codeError
	if errors.As(err, &coded) && coded.hint != "" {
		hint = coded.hint
	}
	var damage *vault.DamageError
	if hint == "" && errors.As(err, &damage) {
		hint = "docs/runbook.md, \"check found damage\""
	}
	if hint == "" && !errors.Is(err, context.Canceled) {
		for _, h := range hints {
			if errors.Is(err, h.is) {
				hint = h.hint
				break
			}
		}
	}
	return oneLine(line), oneLine(hint)
}

var hintInside = regexp.MustCompile(`; hint: ([^\n]*)| \(hint: ([^)\n]*)\)`)

// splitHint takes the first hint out of an error's text, and drops the others.
func splitHint(text string) (line, hint string) {
	if m := hintInside.FindStringSubmatch(text); m != nil {
		hint = m[1] + m[2]
	}
	return hintInside.ReplaceAllString(text, ""), hint
}

// oneLine makes joined errors one line, and nothing in it a terminal's command.
func oneLine(s string) string {
	lines := strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' })
	return clean(strings.Join(lines, "; "))
}

// fail prints an error as CLI.md promises and gives the exit code.
func (a *app) fail(command string, err error) int {
	code := exitCode(err)
	line, hint := explain(err)
	if code == exitInterrupted {
		line, hint = "interrupted; what was done so far is kept", ""
	}
	if a.json {
		b, jerr := json.Marshal(struct {
			Error string `json:"error"`
			Hint  string `json:"hint,omitempty"`
			Code  int    `json:"code"`
		}{line, hint, code})
		if jerr == nil {
			fmt.Fprintf(a.stderr, "%s\n", b)
			return code
		}
	}
	if command != "" {
		command += ": "
	}
	fmt.Fprintf(a.stderr, "salvor: %s%s\n", command, line)
	if hint != "" {
		fmt.Fprintf(a.stderr, "hint: %s\n", hint)
	}
	return code
}
