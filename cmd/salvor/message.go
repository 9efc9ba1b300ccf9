package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/textproto"
	"strings"

	"golang.org/x/text/encoding/htmlindex"

	"salvor/catalog"
)

// Bounds on what is shown of a message; --raw shows all of it.
const (
	maxHeaderBytes = 1 << 20
	maxTextBytes   = 1 << 20
	maxDepth       = 20
)

// shownHeaders are printed in this order.
var shownHeaders = []string{"From", "To", "Cc", "Subject", "Date", "Message-Id"}

// printMessage shows headers and the first text of a message. Mail is hostile:
// nothing of it reaches the terminal but printable characters and line ends.
func (a *app) printMessage(e *catalog.Entry, words *entryWords, stored []byte) error {
	header, body := splitMessage(stored)
	text := firstText(header, body, 0)
	if a.json {
		return a.printJSON(struct {
			*entryWords
			Headers map[string][]string `json:"headers"`
			Text    string              `json:"text"`
		}{words, decodedHeaders(header), text})
	}
	for _, name := range shownHeaders {
		for _, value := range header[name] {
			a.print("%-11s %s", name+":", clean(decodeWords(value)))
		}
	}
	a.print("%-11s %s, folder %s, uid %d, %s, %s, flags %s", "Backup:", clean(e.User), clean(e.Folder), e.UID, size(e.StoredSize),
		moment(e.InternalDate), clean(first(strings.Join(e.Flags, " "), "-")))
	if words.Deleted != nil {
		a.print("%-11s gone from the mail store since %s", "", moment(*words.Deleted))
	}
	_, err := fmt.Fprintf(a.out, "\n%s\n", strings.TrimRight(cleanText(strings.ReplaceAll(text, "\r\n", "\n")), "\n"))
	return err
}

func decodedHeaders(h textproto.MIMEHeader) map[string][]string {
	out := map[string][]string{}
	for _, name := range shownHeaders {
		for _, value := range h[name] {
			out[strings.ToLower(name)] = append(out[strings.ToLower(name)], decodeWords(value))
		}
	}
	return out
}

// splitMessage parts a message at its first empty line. Lines that are no
// header fields are passed over.
func splitMessage(stored []byte) (textproto.MIMEHeader, []byte) {
	header := textproto.MIMEHeader{}
	rest := stored
	name := ""
	for read := 0; len(rest) > 0 && read < maxHeaderBytes; {
		line, after, _ := bytes.Cut(rest, []byte("\n"))
		read += len(line) + 1
		rest = after
		line = bytes.TrimSuffix(line, []byte("\r"))
		if len(line) == 0 {
			break
		}
		key, value, found := strings.Cut(string(line), ":")
		switch {
		case (line[0] == ' ' || line[0] == '\t') && name != "":
			last := len(header[name]) - 1
			header[name][last] += " " + strings.TrimSpace(string(line))
		case found && !strings.ContainsAny(key, " \t"):
			name = textproto.CanonicalMIMEHeaderKey(key)
			header[name] = append(header[name], strings.TrimSpace(value))
		}
	}
	return header, rest
}

// decodeWords decodes the encoded words of a header field (RFC 2047).
func decodeWords(s string) string {
	d := mime.WordDecoder{CharsetReader: charsetReader}
	out, err := d.DecodeHeader(s)
	if err != nil {
		return s
	}
	return out
}

func charsetReader(charset string, in io.Reader) (io.Reader, error) {
	e, err := htmlindex.Get(charset)
	if err != nil {
		return nil, err
	}
	return e.NewDecoder().Reader(in), nil
}

// firstText gives the first text part of a message, decoded as far as that
// can be done; a message that makes no sense is given as it is.
func firstText(header textproto.MIMEHeader, body []byte, depth int) string {
	kind, params, err := mime.ParseMediaType(header.Get("Content-Type"))
	if err != nil || depth > maxDepth {
		kind = "text/plain"
	}
	switch {
	case strings.HasPrefix(kind, "multipart/") && params["boundary"] != "":
		return firstOfParts(multipart.NewReader(bytes.NewReader(body), params["boundary"]), depth)
	case kind == "message/rfc822":
		inner, rest := splitMessage(body)
		return firstText(inner, rest, depth+1)
	case !strings.HasPrefix(kind, "text/"):
		return fmt.Sprintf("[%s, %s; --raw prints it]", kind, size(int64(len(body))))
	}
	return decodeText(header.Get("Content-Transfer-Encoding"), params["charset"], body)
}

// firstOfParts prefers plain text to what else stands beside it.
func firstOfParts(r *multipart.Reader, depth int) string {
	fallback := ""
	for {
		p, err := r.NextRawPart()
		if err != nil {
			return first(fallback, "[no text in it; --raw prints it]")
		}
		b, err := io.ReadAll(io.LimitReader(p, maxTextBytes))
		if err != nil {
			return first(fallback, string(b))
		}
		text := firstText(p.Header, b, depth+1)
		kind, _, err := mime.ParseMediaType(p.Header.Get("Content-Type"))
		if err != nil || kind == "text/plain" || strings.HasPrefix(kind, "multipart/") {
			return text
		}
		fallback = first(fallback, text)
	}
}

func decodeText(encoding, charset string, body []byte) string {
	var r io.Reader = bytes.NewReader(body[:min(len(body), maxTextBytes)])
	switch strings.ToLower(strings.TrimSpace(encoding)) {
	case "base64":
		r = base64.NewDecoder(base64.StdEncoding, r)
	case "quoted-printable":
		r = quotedprintable.NewReader(bufio.NewReader(r))
	}
	if e, err := htmlindex.Get(charset); err == nil {
		r = e.NewDecoder().Reader(r)
	}
	text, err := io.ReadAll(r)
	if err != nil && len(text) == 0 {
		return string(body[:min(len(body), maxTextBytes)])
	}
	return string(text)
}
