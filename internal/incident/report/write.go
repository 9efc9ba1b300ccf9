package report

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"net/url"
	"os"
	"path/filepath"

	"salvor/internal/durable"
	"salvor/internal/mailstore/folder"
)

// A Format is how a page is written.
type Format string

// The formats of pages.
const (
	Text Format = "text"
	HTML Format = "html"
	JSON Format = "json"
)

// ending is that of a file's name.
func (f Format) ending() string {
	if f == Text {
		return ".txt"
	}
	return "." + string(f)
}

// written is what can be written in every format.
type written interface {
	WriteText(io.Writer) error
	WriteHTML(io.Writer) error
}

// Write writes a *Page or a *Public.
func (f Format) Write(w io.Writer, p written) error {
	switch f {
	case HTML:
		return p.WriteHTML(w)
	case JSON:
		e := json.NewEncoder(w)
		e.SetEscapeHTML(false)
		return e.Encode(p)
	}
	return p.WriteText(w)
}

// Entry is a user's line of the index: his page, and how he stands.
type Entry struct {
	User     string  `json:"user"`
	File     string  `json:"file"`
	Messages Numbers `json:"messages"`
}

const private = 0o600

// WriteDir writes every user's page into a directory, made where it is not
// there, and an index of them (index.txt, index.html or index.json), all only for
// the one who runs it. Pages that were there are replaced. It says how many it
// wrote.
func (r *Report) WriteDir(ctx context.Context, dir string, f Format) (pages int, err error) {
	if err := durable.MkdirAll(dir, 0o700); err != nil {
		return 0, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return 0, err
	}
	defer root.Close()
	into := durable.NewRoot(root)
	var sum Numbers
	err = create(into, "index"+f.ending(), func(w io.Writer) error {
		index := newIndex(w, f, r)
		err := r.Pages(ctx, func(p *Page) error {
			file := fileOf(p.User) + f.ending()
			sum.add(p.Messages)
			pages++
			if err := create(into, file, func(w io.Writer) error { return f.Write(w, p) }); err != nil {
				return err
			}
			return index.entry(Entry{User: p.User, File: file, Messages: p.Messages})
		})
		return errors.Join(err, index.end(), r.total(sum))
	})
	if err == nil {
		err = into.Sync(".") // the names of all
	}
	if err != nil {
		return pages, fmt.Errorf("write the report to %s: %w", dir, err)
	}
	return pages, nil
}

// WriteFile makes a file of what write writes, only for the one who runs it. It
// is there when all of it is.
func WriteFile(path string, write func(io.Writer) error) error {
	dir, base := filepath.Split(path)
	if base == "" {
		return fmt.Errorf("write %q: it is a directory", path)
	}
	if dir == "" {
		dir = "."
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	into := durable.NewRoot(root)
	if err = create(into, base, write); err == nil {
		err = into.Sync(".")
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// create writes a file beside its place, and puts it there. Its name is durable
// when the directory was synced.
func create(into durable.FS, name string, write func(io.Writer) error) error {
	tmp := ".salvor-" + rand.Text() + ".tmp"
	f, err := into.Create(tmp, private)
	if err != nil {
		return err
	}
	b := bufio.NewWriter(f)
	if err = write(b); err == nil {
		err = b.Flush()
	}
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = into.Replace(tmp, name)
	}
	if err != nil {
		return errors.Join(err, into.Remove(tmp))
	}
	return nil
}

// longestName leaves room for an ending.
const longestName = 200

var files = folder.Files{Encoding: folder.UTF8, Reserved: func(disk string) bool { return disk == "index" || disk[0] == '.' || disk[0] == '-' }}

// fileOf gives every user another file's name.
func fileOf(user string) string {
	if name := files.Name(user); len(name) <= longestName {
		return name
	}
	return files.Hashed(user)
}

// An index lists the pages of a directory while they are written.
type index struct {
	w       io.Writer
	f       Format
	entries int
}

const indexStyle = `<style>:root { color-scheme: light dark; } body { font: 1rem/1.5 system-ui, sans-serif; padding: 1rem; }
td, th { padding: 0 1rem 0 0; text-align: left; } td.n { text-align: right; }</style>`

var indexLine = template.Must(template.New("line").Parse(`<tr><td><a href="{{.Link}}"><bdi>{{.User}}</bdi></a></td>` +
	`{{range .Counts}}<td class="n">{{.}}</td>{{end}}</tr>` + "\n"))

func newIndex(w io.Writer, f Format, r *Report) *index {
	i := &index{w: w, f: f}
	switch f {
	case HTML:
		io.WriteString(w, `<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'"><title>Incident `+
			template.HTMLEscapeString(r.Incident.Name)+`</title>`+indexStyle+`</head><body><table>
<tr><th>User</th><th>Messages</th><th>Back</th><th>Missing</th><th>Waiting</th><th>Lost</th></tr>
`)
	case Text:
		io.WriteString(w, "user\tfile\tmessages\tback\tmissing\twaiting\tlost\n")
	}
	return i
}

func (i *index) entry(e Entry) (err error) {
	n := e.Messages
	counts := []int64{n.Total, n.Back, n.Owed, n.Held + n.Uncertain, n.Lost}
	switch i.f {
	case HTML:
		err = indexLine.Execute(i.w, struct {
			Link, User string
			Counts     []int64
		}{"./" + url.PathEscape(e.File), printable(e.User), counts})
	case JSON:
		var line []byte
		if line, err = json.Marshal(e); err != nil {
			return err
		}
		before := ",\n"
		if i.entries == 0 {
			before = "[\n"
		}
		_, err = i.w.Write(bytes.Join([][]byte{[]byte(before), line}, nil))
	default:
		_, err = fmt.Fprintf(i.w, "%s\t%s\t%d\t%d\t%d\t%d\t%d\n", printable(e.User), e.File, counts[0], counts[1], counts[2], counts[3], counts[4])
	}
	i.entries++
	return err
}

func (i *index) end() (err error) {
	switch {
	case i.f == HTML:
		_, err = io.WriteString(i.w, "</table></body></html>\n")
	case i.f == JSON && i.entries == 0:
		_, err = io.WriteString(i.w, "[]\n")
	case i.f == JSON:
		_, err = io.WriteString(i.w, "\n]\n")
	}
	return err
}
