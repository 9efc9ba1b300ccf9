package salvage_test

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"math/rand"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"salvor/catalog"
	"salvor/chunk"
	"salvor/internal/testenv/diskimage"
	"salvor/salvage"
	"salvor/salvage/found"
	"salvor/salvage/volume"
)

// A mail is a message as its store has it: LF, or CRLF.
type mail string

// letter makes a message of about so many bytes, LF.
func letter(subject string, size int) mail {
	id := sha256.Sum256([]byte(subject))
	var b strings.Builder
	fmt.Fprintf(&b, "Return-Path: <from@example.net>\nDelivered-To: alice@example.org\nReceived: from mx.example.net by mail.example.org; Mon, 1 Jan 2024 10:00:00 +0000\n"+
		"Date: Mon, 1 Jan 2024 10:00:00 +0000\nFrom: One <from@example.net>\nTo: alice@example.org\nMessage-ID: <%x@example.net>\nSubject: %s\n\n", id[:8], subject)
	for n := 0; b.Len() < size; n++ {
		fmt.Fprintf(&b, "%s, line %d of its text\n", subject, n)
	}
	return mail(b.String())
}

// parts makes a message with an attachment, so that its structure vouches for its end.
func parts(subject string, size int) mail {
	head, body, _ := strings.Cut(string(letter(subject, size)), "\n\n")
	return mail(head + "\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"=_b1\"\n\n--=_b1\nContent-Type: text/plain\n\n" + body + "\n--=_b1--\n")
}

// picture makes a message with an attachment of size bytes in base64.
func picture(subject string, size int) mail {
	body := make([]byte, size)
	rand.New(rand.NewSource(int64(size))).Read(body)
	text := base64.StdEncoding.EncodeToString(body)
	var b strings.Builder
	for len(text) > 76 {
		b.WriteString(text[:76] + "\n")
		text = text[76:]
	}
	m := string(parts(subject, 600))
	return mail(strings.Replace(m, "\n--=_b1--\n", "\n--=_b1\nContent-Type: image/jpeg\nContent-Transfer-Encoding: base64\n\n"+b.String()+text+"\n--=_b1--\n", 1))
}

func (m mail) wire() mail { return mail(strings.ReplaceAll(string(m), "\n", "\r\n")) }

func (m mail) lf() mail { return mail(strings.ReplaceAll(string(m), "\r\n", "\n")) }

// id is the content's: the SHA-256 of its wire form.
func (m mail) id() chunk.ID { return sha256.Sum256([]byte(m.lf().wire())) }

func (m mail) sha1() chunk.SHA1 { return sha1.Sum([]byte(m.lf().wire())) }

func (m mail) stored() string {
	sum := sha256.Sum256([]byte(m))
	return hex.EncodeToString(sum[:])
}

func (m mail) messageID() string {
	_, rest, _ := strings.Cut(string(m), "Message-ID: ")
	id, _, _ := strings.Cut(rest, "\n")
	return strings.TrimSpace(id)
}

// owe is a claim for a message of which an index knows the SHA-1.
func (m mail) owe(user, folder string, uid uint32) catalog.Claim {
	return catalog.Claim{User: user, Folder: folder, UID: uid, State: catalog.ClaimOwed, Size: int64(len(m)), SHA1: m.sha1(), MessageID: m.messageID()}
}

// oweName is a claim for a message of which only its file's name and size are known.
func (m mail) oweName(user, folder, name string) catalog.Claim {
	return catalog.Claim{User: user, Folder: folder, State: catalog.ClaimOwed, Size: int64(len(m)), Name: name}
}

// held are the rows of a message that the vault has.
func (m mail) held(user, folder string, uid uint32) []catalog.Row {
	pack := catalog.Pack{ID: chunk.Sum([]byte("a pack of " + m)), Size: int64(len(m)) + 200, Commit: 1}
	ref := catalog.FrameChunk{Kind: chunk.KindMessage, ID: m.id(), Size: int64(len(m))}
	return []catalog.Row{pack, catalog.Frame{Pack: pack.ID, Offset: 64, Stored: 100, Plain: int64(len(m)), Method: catalog.MethodZstd, Chunks: []catalog.FrameChunk{ref}},
		catalog.Content{ID: m.id(), SHA1: m.sha1(), Size: int64(len(m.lf().wire()))}, catalog.User{Name: user, FirstRun: 1},
		catalog.Mailbox{ID: int64(uid), User: user, Name: folder, UIDValidity: 7}, catalog.Record{ID: int64(uid), Mailbox: int64(uid), UID: uid, Content: m.id(), FirstRun: 1}}
}

// books makes a catalog with rows, in which claims are numbered in their order.
func books(t *testing.T, rows ...catalog.Row) *catalog.Catalog {
	t.Helper()
	c, err := catalog.Open(filepath.Join(t.TempDir(), "catalog.db"), catalog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	enter(t, c, 1, append([]catalog.Row{catalog.Incident{Name: "fire", Source: "cyrus:/etc/imapd.conf"}}, rows...)...)
	return c
}

// enter puts rows into a catalog, as commit number of its vault.
func enter(t *testing.T, c *catalog.Catalog, number uint64, rows ...catalog.Row) {
	t.Helper()
	tx, err := c.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	claims := int64(0)
	for _, row := range rows {
		if claim, ok := row.(catalog.Claim); ok {
			if claim.Incident = "fire"; claim.ID == 0 {
				claims++
				claim.ID = claims
			}
			row = claim
		}
		if err := tx.Put(row); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Commit(catalog.Head{Vault: "test", Number: number, Hash: chunk.Sum([]byte{byte(number)})}); err != nil {
		t.Fatal(err)
	}
}

// room makes a directory that goes with the test, in memory where there is one.
func room(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "salvor-salvage-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// A disk is an image and where its files lie in it.
type disk struct {
	path  string
	files map[string]diskimage.Message
}

// smallDisk is as large as the disks of these tests, in bytes.
const smallDisk = 8 << 20

// makeDisk makes an ext4 of files, by their paths. A content "=PATH" is a hard link.
func makeDisk(t *testing.T, size int64, files map[string]string) *disk {
	t.Helper()
	dir := filepath.Join(room(t), "files")
	for path, content := range files {
		if !strings.HasPrefix(content, "=") {
			write(t, filepath.Join(dir, path), content)
		}
	}
	for path, content := range files {
		if target, ok := strings.CutPrefix(content, "="); ok {
			if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, path)), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.Link(filepath.Join(dir, target), filepath.Join(dir, path)); err != nil {
				t.Fatal(err)
			}
		}
	}
	im := diskimage.Fill(t, dir, diskimage.Options{Size: size})
	im, err := diskimage.Adopt(im.Path, im.Options, func(string) (diskimage.Message, bool) { return diskimage.Message{}, true })
	if err != nil {
		t.Fatal(err)
	}
	d := &disk{path: im.Path, files: map[string]diskimage.Message{}}
	for _, m := range im.Messages {
		d.files[m.Path] = m
	}
	return d
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// place is where a byte of a file lies on the disk.
func (d *disk) place(t *testing.T, path string, off int64) int64 {
	t.Helper()
	for _, e := range d.files[path].Extents {
		if off >= e.Logical && off < e.Logical+e.Len {
			return e.Off + off - e.Logical
		}
	}
	t.Fatalf("%s has no byte %d on the disk", path, off)
	return 0
}

// patch writes bytes over what stands on the disk.
func (d *disk) patch(t *testing.T, off int64, b []byte) {
	t.Helper()
	f, err := os.OpenFile(d.path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(b, off); err != nil {
		t.Fatal(err)
	}
}

// unread writes a map that calls a range bad, and puts rubbish there.
func (d *disk) unread(t *testing.T, off, n int64) {
	t.Helper()
	info, err := os.Stat(d.path)
	if err != nil {
		t.Fatal(err)
	}
	d.patch(t, off, make([]byte, n))
	write(t, d.path+".map", fmt.Sprintf("# Mapfile. Created by GNU ddrescue version 1.27\n0x0 + 1\n0x0 0x%X +\n0x%X 0x%X -\n0x%X 0x%X +\n",
		off, off, n, off+n, info.Size()-off-n))
}

// A dig is a salvage into a directory.
type dig struct {
	out      string
	spec     salvage.Spec
	catalog  *catalog.Catalog // nil: none; with the incident "fire"
	bounds   found.Options
	free     bool // of an incident
	anew     bool
	volume   func(volume.Volume) volume.Volume // what is put between
	keeper   func(found.Keeper) found.Keeper
	progress salvage.Progress
}

// A result is what a salvage came to: its findings by the SHA-256 of their bytes.
type result struct {
	report *salvage.Report
	notes  []string
	finds  map[string]found.Finding
}

func newDig(t *testing.T, sources ...string) *dig {
	return &dig{out: filepath.Join(room(t), "found"), spec: salvage.Spec{Sources: sources}, bounds: found.Options{MinFree: -1}}
}

// try salvages, and gives the error.
func (d *dig) try(ctx context.Context) (r *salvage.Report, notes []string, err error) {
	sources, err := salvage.Open(ctx, d.spec)
	if err != nil {
		return nil, nil, err
	}
	defer sources.Close()
	w, err := found.Create(d.out, found.Head{Sources: sources.Names, Started: time.Now()}, d.bounds)
	if err != nil {
		return nil, nil, err
	}
	o := salvage.Options{Volumes: sources.Volumes, Trees: sources.Trees, Mark: sources.Mark, Work: d.out, Keeper: w, Anew: d.anew, Progress: d.progress}
	if d.keeper != nil {
		o.Keeper = d.keeper(w)
	}
	if d.volume != nil {
		for i, v := range o.Volumes {
			o.Volumes[i] = d.volume(v)
		}
	}
	if d.catalog != nil {
		o.Catalog, o.Incident = d.catalog, "fire"
	}
	if d.free {
		o.Incident = ""
	}
	r, err = salvage.Run(ctx, o)
	if closed := w.Close(); err == nil {
		err = closed
	}
	return r, sources.Notes, err
}

// run salvages, and checks what holds of every result.
func (d *dig) run(t *testing.T) *result {
	t.Helper()
	r, notes, err := d.try(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	res := &result{report: r, notes: notes, finds: d.findings(t)}
	res.addsUp(t)
	return res
}

// findings reads the list, and holds all bytes against their checksums.
func (d *dig) findings(t *testing.T) map[string]found.Finding {
	t.Helper()
	dir, err := found.Open(d.out)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	all := map[string]found.Finding{}
	err = dir.Findings(t.Context(), func(f *found.Finding, err error) error {
		if err != nil {
			return err
		}
		c, err := dir.Content(f)
		if err != nil {
			return err
		}
		defer c.Close()
		all[f.SHA256Stored] = *f
		_, err = io.Copy(io.Discard, c)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// addsUp checks the sums of a report, and the list against it.
func (r *result) addsUp(t *testing.T) {
	t.Helper()
	var users, sources salvage.Counts
	var owed, ownFound, rest int64
	add := func(to *salvage.Counts, c salvage.Counts) {
		to.Matched, to.AlreadyHeld, to.Tombstoned = to.Matched+c.Matched, to.AlreadyHeld+c.AlreadyHeld, to.Tombstoned+c.Tombstoned
		to.Unknown, to.Damaged, to.Superseded = to.Unknown+c.Unknown, to.Damaged+c.Damaged, to.Superseded+c.Superseded
	}
	for _, u := range r.report.Users {
		add(&users, u.Found)
		owed, ownFound, rest = owed+u.Owed, ownFound+u.OwedFound, rest+u.Unreadable+u.Overwritten+u.Missing
	}
	for _, s := range r.report.Sources {
		add(&sources, s.Found)
	}
	p := r.report
	all := salvage.Counts{Matched: p.Matched, AlreadyHeld: p.AlreadyHeld, Tombstoned: p.Tombstoned, Unknown: p.Unknown, Damaged: p.Damaged, Superseded: p.Superseded}
	if users != all || sources != all {
		t.Errorf("the report has %+v, its users %+v, its sources %+v", all, users, sources)
	}
	if sum := p.Matched + p.AlreadyHeld + p.Tombstoned + p.Unknown + p.Damaged + p.Superseded; p.Candidates != sum {
		t.Errorf("%d candidates, and %d in classes", p.Candidates, sum)
	}
	if sum := p.OwedFound + p.OwedUnreadable + p.OwedOverwritten + p.OwedMissing; p.Owed != sum || owed != p.Owed || ownFound != p.OwedFound || rest != p.Owed-p.OwedFound {
		t.Errorf("%d owed, %d with what became of them; of users %d owed, %d found, %d not", p.Owed, sum, owed, ownFound, rest)
	}
	classes := map[found.Class]int64{}
	for _, f := range r.finds {
		classes[f.Class]++
	}
	want := map[found.Class]int64{found.Matched: p.Matched, found.Unknown: p.Unknown, found.Damaged: p.Damaged}
	maps.DeleteFunc(want, func(_ found.Class, n int64) bool { return n == 0 })
	if !maps.Equal(classes, want) {
		t.Errorf("the list has %v, the report %v", classes, want)
	}
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// digestOf is a file's SHA-256.
func digestOf(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(h.Sum(nil))
}
