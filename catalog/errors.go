package catalog

import (
	"errors"
	"fmt"

	"zombiezen.com/go/sqlite"
)

// What a caller may have to decide about.
var (
	// ErrNotExist: there is no catalog file (Options.MustExist).
	ErrNotExist = errors.New("there is no catalog (hint: salvor catalog rebuild)")
	// ErrSchema: the file was written by a newer salvor.
	ErrSchema = errors.New("catalog was written by a newer salvor (hint: use that version, or rebuild with this one: salvor catalog rebuild)")
	// ErrDamaged: the file is no catalog, or one that is damaged. The vault
	// still knows everything.
	ErrDamaged = errors.New("not a usable catalog (hint: move the file away and run: salvor catalog rebuild)")
	// ErrBusy: another process writes to the catalog.
	ErrBusy = errors.New("catalog is in use by another salvor (hint: wait until it has finished)")
	// ErrFull: there is no room for the catalog on its disk.
	ErrFull = errors.New("no space left for the catalog (hint: make room on its disk and run again)")
	// ErrForeign: the head belongs to another vault.
	ErrForeign = errors.New("catalog belongs to another vault (hint: use one catalog file for each vault)")
	// ErrRow: a row or line is not valid, or does not fit the rows that are
	// there.
	ErrRow = errors.New("row does not fit the catalog")
	// ErrClosed: the catalog was closed, or the transaction has ended.
	ErrClosed = errors.New("already closed")
)

// wrap adds what was being done to err and makes SQLite's codes known by our
// errors.
func wrap(err error, doing string) error {
	if err == nil {
		return nil
	}
	if known := kindOf(err); known != nil && !errors.Is(err, known) {
		return fmt.Errorf("%s: %w: %w", doing, known, err)
	}
	return fmt.Errorf("%s: %w", doing, err)
}

func kindOf(err error) error {
	code := sqlite.ErrCode(err)
	if code == sqlite.ResultIOErrSHMSize {
		return ErrFull // no room for the log's index
	}
	switch code.ToPrimary() {
	case sqlite.ResultCorrupt, sqlite.ResultNotADB:
		return ErrDamaged
	case sqlite.ResultBusy, sqlite.ResultLocked:
		return ErrBusy
	case sqlite.ResultFull:
		return ErrFull
	}
	return nil
}

func rowError(r Row, format string, args ...any) error {
	return fmt.Errorf("%w: %s row: %s", ErrRow, r.rowName(), fmt.Sprintf(format, args...))
}
