package main

import (
	"html/template"
	"io/fs"
	"mime"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"go.uber.org/zap"
)

// finished serves the files that arrived, and a list of them at its root. What
// strangers uploaded is never shown by the browser as a page of this site: it
// is always a download, and should a browser show it all the same, it runs no
// scripts.
//
// http.FileServer is not used, because it takes an index.html among the files
// for the list.
type finished struct {
	root *os.Root // keeps links in it from leading elsewhere
	log  *zap.Logger
}

func (f finished) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.Path, "/files/")
	if name == "" {
		f.list(w)
		return
	}
	info, err := f.root.Stat(name)
	if err != nil || !shown(info) {
		http.NotFound(w, r)
		return
	}
	file, err := f.root.Open(name)
	if err != nil {
		f.log.Warn("a finished file cannot be read", zap.String("name", name), zap.Error(err))
		http.Error(w, "The file cannot be read.", http.StatusInternalServerError)
		return
	}
	defer file.Close()
	guard(w.Header(), "sandbox; default-src 'none'")
	w.Header().Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": info.Name()}))
	http.ServeContent(w, r, info.Name(), info.ModTime(), file)
}

// shown: neither folders and devices, nor what is on its way to its name.
func shown(info fs.FileInfo) bool {
	return info.Mode().IsRegular() && !strings.HasPrefix(info.Name(), ".")
}

func (f finished) list(w http.ResponseWriter) {
	entries, err := fs.ReadDir(f.root.FS(), ".")
	if err != nil {
		f.log.Warn("the finished files cannot be listed", zap.Error(err))
		http.Error(w, "The list cannot be read.", http.StatusInternalServerError)
		return
	}
	var files []fs.FileInfo
	for _, e := range entries {
		if info, err := e.Info(); err == nil && shown(info) {
			files = append(files, info)
		}
	}
	slices.SortFunc(files, func(a, b fs.FileInfo) int { return b.ModTime().Compare(a.ModTime()) })
	guard(w.Header(), "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	if err := listTemplate.Execute(w, files); err != nil {
		f.log.Debug("the list could not be sent", zap.Error(err))
	}
}

var listTemplate = template.Must(template.New("files").Funcs(template.FuncMap{
	"size": func(n int64) string { return humanize.Bytes(uint64(n)) },
	"date": func(t time.Time) string { return t.Format("2006-01-02 15:04") },
	"path": func(name string) string { return "/files/" + url.PathEscape(name) },
}).Parse(`<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <meta name="color-scheme" content="light dark">
  <title>Finished files</title>
  <link rel="icon" href="/icon.svg">
  <link rel="stylesheet" href="/style.css">
</head>
<body>
  <main>
    <h1>Finished files</h1>
    {{- if .}}
    <table>
      {{- range .}}
      <tr><th scope="row"><a href="{{path .Name}}">{{.Name}}</a></th><td>{{size .Size}}</td><td>{{date .ModTime}}</td></tr>
      {{- end}}
    </table>
    {{- else}}
    <p>There are none yet.</p>
    {{- end}}
    <footer><a href="/">Upload files</a></footer>
  </main>
</body>
</html>
`))
