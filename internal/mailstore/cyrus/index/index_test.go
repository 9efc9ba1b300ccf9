package index

import (
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"salvor/internal/mailstore/cyrus/header"
)

const fixtures = "../testdata/index"

func read0(t testing.TB, path ...string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// expectedHeader reads the dictionary that the independent decoder prints.
func expectedHeader(t *testing.T, text string) map[string]string {
	t.Helper()
	out := map[string]string{}
	line := regexp.MustCompile(`(?m)^index v\d+ \{(.*)\} slack`).FindStringSubmatch(text)
	if line == nil {
		t.Fatal("no header in the expectation")
	}
	for _, pair := range strings.Split(line[1], ", ") {
		k, v, _ := strings.Cut(pair, ": ")
		out[strings.Trim(k, "'")] = v
	}
	return out
}

func unix(t time.Time) string {
	if t.IsZero() {
		return "0"
	}
	return strconv.FormatInt(t.Unix(), 10)
}

var checks = map[Check]string{Unchecked: "None", Good: "True", Bad: "False"}

// told gives a header in the words of the independent decoder.
func told(h Header) map[string]string {
	return map[string]string{
		"generation": fmt.Sprint(h.Generation), "minor_version": fmt.Sprint(h.Version), "start_offset": fmt.Sprint(h.StartOffset),
		"record_size": fmt.Sprint(h.RecordSize), "num_records": fmt.Sprint(h.NumRecords), "last_appenddate": unix(h.LastAppend),
		"last_uid": fmt.Sprint(h.LastUID), "quota_used": fmt.Sprint(h.QuotaUsed), "pop3_last_login": unix(h.Pop3LastLogin),
		"uidvalidity": fmt.Sprint(h.UIDValidity), "deleted": fmt.Sprint(h.Deleted), "answered": fmt.Sprint(h.Answered),
		"flagged": fmt.Sprint(h.Flagged), "options": fmt.Sprint(h.Options), "leaked_cache": fmt.Sprint(h.LeakedCache),
		"highestmodseq": fmt.Sprint(h.HighestModSeq), "deletedmodseq": fmt.Sprint(h.DeletedModSeq), "exists": fmt.Sprint(h.Exists),
		"first_expunged": unix(h.FirstExpunged), "last_repack": unix(h.LastRepack), "header_file_crc": fmt.Sprint(h.HeaderFileCRC),
		"synccrc_basic": fmt.Sprint(h.SyncCRC), "recentuid": fmt.Sprint(h.RecentUID), "recenttime": unix(h.RecentTime),
		"pop3_show_after": unix(h.Pop3ShowAfter), "quota_annot": fmt.Sprint(h.QuotaAnnotationUsed),
		"synccrc_annot": fmt.Sprint(h.SyncCRCAnnotations), "unseen": fmt.Sprint(h.Unseen), "createdmodseq": fmt.Sprint(h.CreatedModSeq),
		"changes_epoch": unix(h.ChangesEpoch), "quota_deleted": fmt.Sprint(h.QuotaDeleted), "quota_expunged": fmt.Sprint(h.QuotaExpunged),
		"crc_ok": checks[h.Check],
	}
}

// flagNames are those of the independent decoder, by bit.
var flagNames = map[Flags]string{
	Answered: `\Answered`, Flagged: `\Flagged`, Deleted: `\Deleted`, Draft: `\Draft`, Seen: `\Seen`, Snoozed: "[SNOOZED]", SplitThread: "[SPLITCONV]",
	NeedsCleanup: "[NEEDS_CLEANUP]", Archived: "[ARCHIVED]", Unlinked: "[UNLINKED]", Expunged: "[EXPUNGED]",
}

// toldRecord gives a record in the words of the independent decoder, up to
// what it learned from other files.
func toldRecord(v uint32, r Record, flags []string) string {
	date := func(t time.Time) string {
		if t.IsZero() {
			return "-"
		}
		return t.Format("2006-01-02T15:04:05Z")
	}
	since := func(version uint32, n uint64) string {
		if v < version {
			return "None"
		}
		return fmt.Sprint(n)
	}
	var on []string
	for bit := range 32 {
		if name := flagNames[r.System&(1<<bit)]; name != "" {
			on = append(on, name)
		}
	}
	for bit, name := range flags {
		if r.HasUserFlag(bit) {
			on = append(on, name)
		}
	}
	guid := ""
	if v >= 10 {
		guid = hex.EncodeToString(r.GUID[:6])
	}
	gm := date(r.GMTime)
	if v < 12 {
		gm = "*"
	}
	return fmt.Sprintf("uid %d rec_crc %s cache_crc * idate %s sent %s gm %s saved %s upd %s size %d/%d modseq %s created %s cid %016x cv %d guid %s flags %s",
		r.UID, checks[r.Check], date(r.InternalDate), date(r.SentDate), gm, date(r.SaveDate), date(r.LastUpdated), r.Size, r.HeaderSize,
		since(8, r.ModSeq), since(16, r.CreatedModSeq), r.ThreadID, r.CacheVersion, guid, strings.Join(on, " "))
}

var (
	cacheCheck = regexp.MustCompile(`cache_crc \S+`)
	bodyPlace  = regexp.MustCompile(` gm \S+`)
	elsewhere  = regexp.MustCompile(` (file ok|FILE DIFFERS|FILE MISSING) .*$`)
)

// Every fixture is read as the independent decoder reads it.
func TestFixtures(t *testing.T) {
	dirs, err := filepath.Glob(fixtures + "/*")
	if err != nil || len(dirs) != 11 {
		t.Fatalf("%d fixtures, %v", len(dirs), err)
	}
	for _, dir := range dirs {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			expect := string(read0(t, dir, "expect.txt"))
			f, err := Decode(read0(t, dir, "cyrus.index"))
			if err != nil || len(f.Damage) > 0 {
				t.Fatalf("%v, damage %q", err, f.Damage)
			}
			got := told(f.Header)
			for k, want := range expectedHeader(t, expect) {
				if got[k] != want {
					t.Errorf("header: %s is %q, want %q", k, got[k], want)
				}
			}
			h, err := header.Parse(read0(t, dir, "cyrus.header"))
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			for _, line := range strings.Split(expect, "\n") {
				if !strings.HasPrefix(line, "uid ") {
					continue
				}
				want := strings.TrimSpace(elsewhere.ReplaceAllString(cacheCheck.ReplaceAllString(line, "cache_crc *"), ""))
				if f.Header.Version < 12 {
					want = bodyPlace.ReplaceAllString(want, " gm *")
				}
				if got := strings.TrimSpace(toldRecord(f.Header.Version, f.Record(n), h.Flags)); got != want {
					t.Errorf("record %d:\n got %q\nwant %q", n, got, want)
				}
				n++
			}
			if n != f.Len() || n == 0 && f.Header.NumRecords > 0 {
				t.Errorf("%d records, %d expected", f.Len(), n)
			}
		})
	}
}

// The index's sizes and SHA-1s are those of the message files.
func TestFixtureContents(t *testing.T) {
	for _, v := range []string{"6", "7", "8", "9", "10", "12", "13", "14", "15", "16", "17"} {
		data := "../testdata/data"
		if v == "10" {
			data += "-carol"
		}
		f, err := Decode(read0(t, fixtures, "v"+v, "cyrus.index"))
		if err != nil || f.Len() != 25 {
			t.Fatalf("v%s: %v", v, err)
		}
		for i := range f.Len() {
			r := f.Record(i)
			b := read0(t, data, fmt.Sprintf("%d.", r.UID))
			if uint64(len(b)) != r.Size || f.HasGUID() && r.GUID != sha1.Sum(b) {
				t.Errorf("v%s: UID %d does not describe its file", v, r.UID)
			}
		}
		if f.HasGUID() != (f.Header.Version >= 10) {
			t.Errorf("v%s: GUID %v", v, f.HasGUID())
		}
	}
}
