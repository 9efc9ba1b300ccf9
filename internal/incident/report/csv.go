package report

import (
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"salvor/catalog"
	"salvor/internal/incident"
)

// Columns are the header of a CSV.
var Columns = []string{"user", "folder", "uid_validity", "uid", "state", "reason", "size", "internal_date", "message_id", "sha1", "flags", "settled_at",
	"now_store", "now_folder", "now_uid", "grade", "taken_at", "in_doubt"}

// CSV writes every message of the incident as a line (RFC 4180, UTF-8), in the
// order in which the ledger has them. Times are RFC 3339 in UTC; what is unknown
// is empty. A cell that a spreadsheet might take for a formula begins with an
// apostrophe, and control characters are replaced. The error incident.ErrSums
// after the last line says that lines are missing.
func (r *Report) CSV(ctx context.Context, w io.Writer) error {
	out := csv.NewWriter(w)
	out.UseCRLF = true
	if err := out.Write(Columns); err != nil {
		return err
	}
	var sum Numbers
	cells := make([]string, 0, len(Columns))
	err := r.c.Claims(ctx, catalog.ClaimQuery{Incident: r.Incident.Name}, func(c *catalog.Claim) error {
		if !sum.count(c.State, 1) {
			return fmt.Errorf("%w: a message is %q", incident.ErrSums, c.State)
		}
		cells = line(cells[:0], c)
		return out.Write(cells)
	})
	if err != nil {
		return err
	}
	if out.Flush(); out.Error() != nil {
		return out.Error()
	}
	return r.total(sum)
}

func line(cells []string, c *catalog.Claim) []string {
	cells = append(cells, c.User, c.Folder, number(int64(c.UIDValidity)), number(int64(c.UID)), string(c.State), c.Reason, number(c.Size),
		instant(c.InternalDate), c.MessageID, "", strings.Join(c.Flags, " "), instant(c.SettledAt), c.NowStore, c.NowFolder, number(int64(c.NowUID)),
		string(c.Grade), instant(c.TakenAt), "")
	if !c.SHA1.IsZero() {
		cells[9] = c.SHA1.String()
	}
	if c.Doubt {
		cells[17] = "true"
	}
	for i := range cells {
		cells[i] = harmless(cells[i])
	}
	return cells
}

// number is empty for 0: none, or unknown.
func number(n int64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatInt(n, 10)
}

func instant(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// harmless keeps spreadsheets from running what a sender wrote: a cell that
// begins like a formula gets an apostrophe. Some programs take the wide forms of
// these characters too.
func harmless(cell string) string {
	if cell == "" {
		return cell
	}
	formula := strings.ContainsRune("=+-@\t\r\n＝＋－＠", []rune(cell[:min(len(cell), 4)])[0])
	if cell = printable(cell); formula {
		return "'" + cell
	}
	return cell
}
