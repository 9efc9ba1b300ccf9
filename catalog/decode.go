package catalog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// MaxLine is the longest journal line that is written or read, in bytes.
const MaxLine = 64 << 20

const (
	verbPut    = "put"
	verbDelete = "delete"
)

// decodeLine reads one line: a row in normal form, to be put or, when del is
// true, to be deleted (then only its key counts).
func decodeLine(line []byte) (r Row, del bool, err error) {
	if len(line) > MaxLine {
		return nil, false, fmt.Errorf("line of %d bytes: the limit is %d", len(line), MaxLine)
	}
	name, del, raw, err := splitLine(line)
	if err != nil {
		return nil, false, err
	}
	read, ok := readers[name]
	if !ok {
		return nil, false, fmt.Errorf("unknown row %q", name)
	}
	if r, err = read(raw); err != nil {
		return nil, false, fmt.Errorf("%s row: %w", name, err)
	}
	if !del {
		r, err = r.normal()
	}
	return r, del, err
}

// splitLine takes a line's frame off its row. Lines as appendLine writes them
// need not be parsed twice for that.
func splitLine(line []byte) (name string, del bool, row []byte, err error) {
	if rest, ok := bytes.CutPrefix(line, []byte(`{"put":"`)); ok {
		name, row, ok := bytes.Cut(rest, []byte(`","row":`))
		row, end := bytes.CutSuffix(bytes.TrimSuffix(row, []byte("\n")), []byte("}"))
		if ok && end && readers[string(name)] != nil {
			return string(name), false, row, nil
		}
	}
	var l struct {
		Put    string          `json:"put"`
		Delete string          `json:"delete"`
		Row    json.RawMessage `json:"row"`
	}
	if err := decodeStrict(line, &l); err != nil {
		return "", false, nil, err
	}
	if l.Put != "" && l.Delete != "" {
		return "", false, nil, errors.New("line puts and deletes at once")
	}
	if l.Put != "" {
		return l.Put, false, l.Row, nil
	}
	return l.Delete, true, l.Row, nil
}

var readers = map[string]func([]byte) (Row, error){
	"user":      read[User],
	"mailbox":   read[Mailbox],
	"record":    read[Record],
	"content":   read[Content],
	"part":      read[Part],
	"pack":      read[Pack],
	"frame":     read[Frame],
	"run":       read[Run],
	"hold":      read[Hold],
	"tombstone": read[Tombstone],
	"ack":       read[Ack],
	"lock":      read[Lock],
	"incident":  read[Incident],
	"claim":     read[Claim],
	"gate":      read[Gate],
	"finding":   read[Finding],
	"drill":     read[Drill],
	"counter":   read[Counter],
}

func read[T Row](raw []byte) (Row, error) {
	var v T
	if err := decodeStrict(raw, &v); err != nil {
		return nil, err
	}
	if err := readTexts(&v); err != nil {
		return nil, err
	}
	return v, nil
}

// decodeStrict reads exactly one JSON object without unknown fields.
func decodeStrict(b []byte, v any) error {
	if b = bytes.TrimLeft(b, " \t\r\n"); len(b) == 0 || b[0] != '{' {
		return errors.New("not a JSON object")
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("more than one JSON value")
	}
	return nil
}

// readTexts undoes appendText in all of a row's strings. v points to a row.
func readTexts(v any) error {
	var list []*string
	switch r := v.(type) {
	case *User:
		list = []*string{&r.Name, &r.Source, &r.Partition}
	case *Mailbox:
		list = []*string{&r.User, &r.Name, &r.ObjectID, &r.SpecialUse, &r.State, &r.Excluded, &r.ACL, &r.Quota}
	case *Record:
		list = append(pointers(r.Flags), &r.Key, (*string)(&r.LineEnds), &r.SourceState, &r.ObjectID)
	case *Content:
		list = []*string{&r.From, &r.To, &r.Subject, &r.MessageID}
	case *Pack:
		list = []*string{&r.Damaged}
	case *Run:
		list = append(append(pointers(r.Held), pointers(r.Problems)...), &r.Kind, &r.Source, &r.Clock, &r.Host)
	case *Hold:
		list = []*string{&r.User, &r.Reason, &r.VerdictBy}
	case *Tombstone:
		list = []*string{&r.User}
	case *Ack:
		list = []*string{&r.Attention, &r.By}
	case *Lock:
		list = []*string{&r.Next}
	case *Incident:
		list = append(pointers(r.Problems), &r.Name, &r.Source, &r.Index, &r.OpenedBy, &r.ClosedBy, &r.Kept)
	case *Claim:
		list = append(pointers(r.Flags), &r.Incident, &r.User, &r.Folder, (*string)(&r.State), &r.Reason, &r.MessageID,
			&r.Name, &r.Envelope, &r.NowStore, &r.NowFolder, (*string)(&r.Grade), &r.SentStore, &r.SentFolder)
	case *Gate:
		list = []*string{&r.Incident, &r.User, (*string)(&r.State), &r.Reason, &r.Store, (*string)(&r.Told)}
	case *Finding:
		list = []*string{&r.Incident, &r.ID, &r.Salvage, &r.Class, &r.Grade, &r.Why, &r.User, &r.UserBy, &r.Folder, (*string)(&r.LineEnds), &r.Name,
			&r.MessageID, &r.From, &r.Subject, &r.Source, &r.How, &r.Path}
	case *Drill:
		list = append(pointers(r.Problems), &r.Store)
	}
	for _, s := range list {
		if err := readText(s); err != nil {
			return fmt.Errorf("string in base64: %w", err)
		}
	}
	return nil
}

func pointers(list []string) []*string {
	out := make([]*string, len(list))
	for i := range list {
		out[i] = &list[i]
	}
	return out
}
