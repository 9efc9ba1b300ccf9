package report

import (
	"html/template"
	"io"
)

// page is a whole file: it needs nothing from elsewhere, has no scripts, and
// forbids both.
var page = template.Must(template.New("page").Parse(`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>{{.Title}}</title>
<style>
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 42rem; margin: 0 auto; padding: 1rem; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; line-height: 1.25; }
h2 { font-size: 1.15rem; margin: 1.75rem 0 .25rem; }
p { margin: .5rem 0; }
ul { padding-left: 1.25rem; }
li { margin: .25rem 0; }
.small { font-size: .875rem; opacity: .75; }
@media print { body { max-width: none; padding: 0; font-size: 11pt; } h2 { break-after: avoid; } li { break-inside: avoid; } }
</style>
</head>
<body>
<h1>{{.Title}}</h1>
{{if .For}}<p>For <strong><bdi>{{.For}}</bdi></strong></p>
{{end}}{{range .Sections}}<h2>{{.Title}}</h2>
{{range .Words}}<p>{{.}}</p>
{{end}}{{if .Items}}<ul>
{{range .Items}}<li><strong><bdi>{{.Folder}}</bdi></strong>: {{.Words}}</li>
{{end}}</ul>
{{end}}{{range .After}}<p>{{.}}</p>
{{end}}{{end}}<p class="small">{{.Foot}}</p>
</body>
</html>
`))

// leaf is what page shows.
type leaf struct {
	Title, For, Foot string
	Sections         []section
}

// WriteHTML writes a page as one HTML file that needs no other.
func (p *Page) WriteHTML(w io.Writer) error {
	return writeHTML(w, leaf{Title: "What became of your mail", For: p.User, Sections: p.sections(),
		Foot: "Written " + moment(p.WrittenAt) + ". " + zoneWords(p.LossAt)})
}

func writeHTML(w io.Writer, l leaf) error {
	l.For = printable(l.For)
	for i := range l.Sections {
		for n := range l.Sections[i].Items {
			l.Sections[i].Items[n].Folder = printable(l.Sections[i].Items[n].Folder)
		}
	}
	return page.Execute(w, l)
}
