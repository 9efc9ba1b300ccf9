package mailgen

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"testing"
)

func create(t *testing.T, o Options) *Corpus {
	t.Helper()
	if o.Root == "" {
		o.Root = filepath.Join(t.TempDir(), "mail")
	}
	c, err := Create(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// digest is a hash over all names, contents and times below a directory.
func digest(t *testing.T, dir string) string {
	t.Helper()
	h := sha256.New()
	for _, path := range files(t, dir) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		name, _ := filepath.Rel(dir, path)
		when := int64(0)
		if strings.Contains(path, ",S=") {
			when = info.ModTime().UnixNano()
		}
		fmt.Fprintf(h, "%q %d %d\n", name, when, len(b))
		h.Write(b)
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

func files(t *testing.T, dir string) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			all = append(all, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestSeedDecidesEverything(t *testing.T) {
	var sums []string
	for _, seed := range []uint64{1, 1, 2} {
		root := t.TempDir()
		c := create(t, Options{Root: root, Messages: 150, Seed: seed})
		if _, err := c.Day(context.Background(), Changes{}); err != nil {
			t.Fatal(err)
		}
		sums = append(sums, digest(t, root))
	}
	if sums[0] != sums[1] || sums[0] == sums[2] {
		t.Errorf("same seed, same bytes? %v; another seed, others? %v", sums[0] == sums[1], sums[0] != sums[2])
	}
}

var sizes = regexp.MustCompile(`,S=(\d+),W=(\d+)(:2,[DFPRST]*[a-z]*)?$`)

// checkTree holds a tree against what MAILDIR and Dovecot promise: every file
// is listed once, sizes in names are right, keyword letters are defined.
func checkTree(t *testing.T, root string) (messages int) {
	t.Helper()
	for _, path := range files(t, root) {
		if filepath.Base(path) != "dovecot-uidlist" {
			continue
		}
		listed := readList(t, path)
		dir := filepath.Dir(path)
		for _, file := range append(files(t, filepath.Join(dir, "cur")), files(t, filepath.Join(dir, "new"))...) {
			if filepath.Base(file) == ".gitkeep" {
				continue
			}
			messages++
			base, _, _ := strings.Cut(filepath.Base(file), ":")
			if !listed[base] {
				t.Fatalf("%s is not listed", file)
			}
			delete(listed, base)
			checkMessage(t, dir, file)
		}
		if len(listed) != 0 {
			t.Fatalf("%s lists what is not there: %v", path, listed)
		}
	}
	return messages
}

func readList(t *testing.T, path string) map[string]bool {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
	var validity, next int
	var guid string
	if _, err := fmt.Sscanf(lines[0], "3 V%d N%d G%s", &validity, &next, &guid); err != nil || validity == 0 || len(guid) != 32 {
		t.Fatalf("%s: header %q: %v", path, lines[0], err)
	}
	listed, last := map[string]bool{}, 0
	for _, line := range lines[1:] {
		number, base, _ := strings.Cut(line, " :")
		uid, err := strconv.Atoi(number)
		if err != nil || uid <= last || uid >= next || listed[base] {
			t.Fatalf("%s: line %q after UID %d, next is %d", path, line, last, next)
		}
		listed[base], last = true, uid
	}
	return listed
}

func checkMessage(t *testing.T, dir, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	m := sizes.FindStringSubmatch(path)
	if m == nil {
		t.Fatalf("name %s", path)
	}
	if m[1] != strconv.Itoa(len(b)) || m[2] != strconv.Itoa(len(b)+bytes.Count(b, []byte("\n"))) {
		t.Fatalf("%s has %d bytes", path, len(b))
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(filepath.Base(path), strconv.FormatInt(info.ModTime().Unix(), 10)+".") {
		t.Fatalf("%s is of %v", path, info.ModTime())
	}
	keywords, _ := os.ReadFile(filepath.Join(dir, "dovecot-keywords"))
	for _, c := range m[3] {
		if c >= 'a' && c <= 'z' && bytes.Count(keywords, []byte("\n")) <= int(c-'a') {
			t.Fatalf("%s: keyword %c is not defined", path, c)
		}
	}
}

func TestTreeIsRight(t *testing.T) {
	root := t.TempDir()
	c := create(t, Options{Root: root, Users: 4, Messages: 400, Seed: 3})
	if n := checkTree(t, root); n != 400 || c.Stats.Messages != 400 {
		t.Errorf("%d messages, %d counted, want 400", n, c.Stats.Messages)
	}
	if c.Stats.Junk == 0 || c.Stats.Attached == 0 || c.Stats.Median == 0 || c.Stats.JunkBytes >= c.Stats.Bytes {
		t.Errorf("got %+v", c.Stats)
	}
	have := 400
	for range 3 {
		// A wild day, so that everything happens to few messages.
		s, err := c.Day(context.Background(), Changes{New: .1, Flags: .1, Moves: .1, Copies: .05, Deletes: .1})
		if err != nil {
			t.Fatal(err)
		}
		have += s.Messages + s.Copied - s.Deleted
		if n := checkTree(t, root); n != have {
			t.Errorf("%d messages after a day, want %d: %+v", n, have, s)
		}
		if s.Messages == 0 || s.Flagged == 0 || s.Moved == 0 || s.Copied == 0 || s.Deleted == 0 {
			t.Errorf("a day without something: %+v", s)
		}
	}
}

// Every message can be read by somebody else's MIME parser, and attachments
// are held several times.
func TestMessagesAreMIME(t *testing.T) {
	root := t.TempDir()
	create(t, Options{Root: root, Messages: 300, Seed: 4})
	parts := map[[32]byte]int{}
	var held, attached int
	for _, path := range files(t, root) {
		if !strings.Contains(path, ",S=") {
			continue
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		m, err := mail.ReadMessage(bytes.NewReader(b))
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if _, err := m.Header.Date(); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if to, err := m.Header.AddressList("To"); err != nil || len(to) == 0 {
			t.Fatalf("%s: %v", path, err)
		}
		walk(t, path, m.Header.Get("Content-Type"), m.Header.Get("Content-Transfer-Encoding"), m.Body, func(content []byte) {
			attached++
			sum := sha256.Sum256(content)
			if parts[sum] > 0 {
				held++
			}
			parts[sum]++
		})
	}
	if attached < 20 || held < attached/4 {
		t.Errorf("%d attachments, of which %d are held elsewhere too", attached, held)
	}
}

func walk(t *testing.T, path, kind, encoding string, body io.Reader, leaf func([]byte)) {
	t.Helper()
	media, params, err := mime.ParseMediaType(kind)
	if err != nil {
		t.Fatalf("%s: %q: %v", path, kind, err)
	}
	if !strings.HasPrefix(media, "multipart/") {
		if encoding == "quoted-printable" {
			body = quotedprintable.NewReader(body)
		}
		b, err := io.ReadAll(body)
		if err != nil {
			t.Fatalf("%s: %s: %v", path, media, err)
		}
		if encoding == "base64" {
			leaf(bytes.Join(bytes.Fields(b), nil))
		}
		return
	}
	r := multipart.NewReader(body, params["boundary"])
	for {
		p, err := r.NextRawPart()
		if err == io.EOF {
			return
		}
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		walk(t, path, p.Header.Get("Content-Type"), p.Header.Get("Content-Transfer-Encoding"), p, leaf)
	}
}

func TestTiny(t *testing.T) {
	root := t.TempDir()
	c := create(t, Options{Root: root, Users: 5, Messages: 200, Shape: Tiny})
	if n := checkTree(t, root); n != 200 || c.Stats.Largest > 2000 {
		t.Errorf("%d messages, largest %d", n, c.Stats.Largest)
	}
}

func TestEditedFilesShareMostBytes(t *testing.T) {
	w, err := newWorld(Options{Root: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	text := w.press.text
	for i := range fileKinds {
		f := &file{seed: uint64(i), kind: &fileKinds[i], size: 300000, name: "a" + fileKinds[i].suffix}
		one, _ := f.bytes(nil, text)
		again, _ := f.bytes(nil, text)
		two, _ := f.edited().bytes(nil, text)
		if !bytes.Equal(one, again) || bytes.Equal(one, two) {
			t.Errorf("%s: an edit changes the bytes, nothing else does", f.kind.suffix)
		}
		if d := len(one) - f.size; d < 0 || d > 100 {
			t.Errorf("%s: %d bytes, want %d", f.kind.suffix, len(one), f.size)
		}
		if n := shared(one, two); n < len(one)/2 {
			t.Errorf("%s: of %d bytes only %d are in the next version", f.kind.suffix, len(one), n)
		}
		if e := f.edited().edited(); e.name != "a-v2-v3"+f.kind.suffix {
			t.Errorf("name %q", e.name)
		}
	}
}

// shared counts bytes of a in blocks of 256 that stand somewhere in b.
func shared(a, b []byte) (n int) {
	for ; len(a) >= 256; a = a[256:] {
		if bytes.Contains(b, a[:256]) {
			n += 256
		}
	}
	return n
}

func TestRealPools(t *testing.T) {
	pool := t.TempDir()
	paragraph := strings.Repeat("the words of a real text that is quoted here ", 4)
	for name, content := range map[string]string{"a.txt": paragraph + "\n\n" + paragraph, "b.bin": strings.Repeat("\x00\x01\x02data", 100)} {
		if err := os.WriteFile(filepath.Join(pool, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	root := t.TempDir()
	create(t, Options{Root: root, Messages: 100, Texts: pool, Files: pool})
	checkTree(t, root)
	found := 0
	for _, path := range files(t, root) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b, []byte("words of a real text")) && bytes.Contains(b, []byte(`filename="b.bin"`)) {
			found++
		}
	}
	if found == 0 {
		t.Error("no message holds real text and a real file")
	}
}

func TestImport(t *testing.T) {
	from := t.TempDir()
	var want []string
	for i := range 100 {
		dir := filepath.Join(from, fmt.Sprintf("list%d", i%2))
		content := fmt.Sprintf("From: x\nSubject: %d\n\n%s\n", i, strings.Repeat("y", i))
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%03d.eml", i)), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		want = append(want, content)
	}
	root := t.TempDir()
	c, err := Import(context.Background(), Options{Root: root, Users: 2}, from)
	if err != nil {
		t.Fatal(err)
	}
	if n := checkTree(t, root); n != 95 {
		t.Errorf("%d messages at first, want 95", n)
	}
	s, err := c.Day(context.Background(), Changes{New: 1})
	if err != nil || s.Messages != 5 {
		t.Fatalf("a day brings %+v, %v", s, err)
	}
	checkTree(t, root)
	var got []string
	for _, path := range files(t, root) {
		if strings.Contains(path, ",S=") {
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, string(b))
		}
	}
	sort.Strings(got)
	sort.Strings(want)
	if strings.Join(got, "|") != strings.Join(want, "|") {
		t.Error("real messages changed on their way")
	}
	if _, err := Import(context.Background(), Options{Root: t.TempDir()}, t.TempDir()); err == nil {
		t.Error("an empty directory is no corpus")
	}
}

func TestModifiedUTF7(t *testing.T) {
	for name, want := range map[string]string{
		"Entwürfe": "Entw&APw-rfe", "A&B": "A&-B", "台北/日本語": "&U,BTFw-/&ZeVnLIqe-", "😀": "&2D3eAA-", "plain": "plain",
	} {
		if got := modifiedUTF7(name); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
}

func TestContextStops(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Create(ctx, Options{Root: t.TempDir()}); err == nil {
		t.Error("goes on without a context")
	}
}

// The demonstration's mail is what Demo writes, so it can be made again.
func TestDemoIsUpToDate(t *testing.T) {
	root := t.TempDir()
	if err := Demo(context.Background(), root); err != nil {
		t.Fatal(err)
	}
	checkTree(t, root)
	stored := "../../testdata/demo"
	if os.Getenv("SALVOR_UPDATE_TESTDATA") != "" {
		if err := os.RemoveAll(stored); err != nil {
			t.Fatal(err)
		}
		if err := os.CopyFS(stored, os.DirFS(root)); err != nil {
			t.Fatal(err)
		}
	}
	want, have := contents(t, root), contents(t, stored)
	var size int
	for name, b := range want {
		size += len(b)
		if have[name] != b {
			t.Errorf("testdata/demo: %s differs (SALVOR_UPDATE_TESTDATA=1 go test ./internal/mailgen writes it)", name)
		}
	}
	if len(have) != len(want) {
		t.Errorf("testdata/demo holds %d files, want %d", len(have), len(want))
	}
	if size > 200<<10 {
		t.Errorf("testdata/demo has %d bytes, too many for a repository", size)
	}
}

func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, path := range files(t, dir) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		name, _ := filepath.Rel(dir, path)
		all[name] = string(b)
	}
	return all
}
