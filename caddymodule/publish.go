package caddymodule

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/wsingest/wsingest/middleware"
	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/resume"
)

var conflicts = []string{string(resume.ConflictRename), string(resume.ConflictOverwrite), string(resume.ConflictFail)}

// check finds what is nonsense in d, looks up who files are to belong to, and
// makes the directory.
func (d *Deliver) check() (err error) {
	if d.mode, err = parseMode(d.Mode); err != nil {
		return fmt.Errorf("ws_ingest: deliver: mode is %w", err)
	}
	if d.owner, err = lookUpOwner(d.Chown); err != nil {
		return fmt.Errorf("ws_ingest: deliver: chown is %w", err)
	}
	switch {
	case d.RetryFor < 0:
		return fmt.Errorf("ws_ingest: deliver: retry_for is %v, expected a duration that is not negative", time.Duration(d.RetryFor))
	case d.File != "" && d.Method != "":
		return errors.New("ws_ingest: deliver has both a file and a method for the next handler: there is one delivery, choose")
	case d.File == "" && (d.OnConflict != "" || d.Mode != "" || d.Chown != "" || d.Sidecar):
		return errors.New("ws_ingest: deliver: on_conflict, mode, chown and sidecar need a file")
	case d.OnConflict != "" && !slices.Contains(conflicts, d.OnConflict):
		return fmt.Errorf("ws_ingest: deliver: on_conflict is %q, expected %s", d.OnConflict, strings.Join(conflicts, ", "))
	case d.File == "":
		return nil
	case d.keys:
		return d.checkKey()
	}
	dir, rest := splitPath(d.File)
	switch {
	case !filepath.IsAbs(dir):
		return fmt.Errorf("ws_ingest: deliver: the file %q is not an absolute path that begins with a fixed directory", d.File)
	case rest == "" || strings.HasSuffix(rest, "/"):
		return fmt.Errorf("ws_ingest: deliver: the file %q is a directory: add a name, such as {ws_ingest.name}", d.File)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("ws_ingest: deliver: the directory cannot be made: %w", err)
	}
	return nil
}

// publish returns how the middleware is to publish files, nil if it is not.
func (d *Deliver) publish() *middleware.Publish {
	if d.File == "" {
		return nil
	}
	dir, rest := splitPath(d.File)
	return &middleware.Publish{
		Dir:        dir,
		OnConflict: resume.Conflict(d.OnConflict),
		Mode:       d.mode,
		Owner:      d.owner,
		Sidecar:    d.Sidecar,
		Path: func(r *http.Request, st resume.State) (string, error) {
			repl := caddy.NewEmptyReplacer()
			repl.Map(placeholders(st))
			repl.Map(replacer(r).Get)
			return repl.ReplaceFunc(rest, pathElement)
		},
	}
}

// splitPath takes a template of a path apart: the directory that is there, and
// what depends on the upload. Variables of the environment are known by now.
func splitPath(template string) (dir, rest string) {
	env := caddy.NewEmptyReplacer()
	env.Map(func(key string) (any, bool) {
		name, ok := strings.CutPrefix(key, "env.")
		return os.Getenv(name), ok
	})
	template = filepath.ToSlash(env.ReplaceKnown(template, ""))
	fixed, _, _ := strings.Cut(template, "{")
	cut := strings.LastIndexByte(fixed, '/') + 1
	return filepath.FromSlash(template[:cut]), template[cut:]
}

// clientsWords are the placeholders whose values the client makes up. Whatever
// they are, they become a name; nobody's place depends on them.
var clientsWords = []string{"name", "type"}

// pathElement makes the value of a placeholder part of a path. What says who
// somebody is must fit as it is: two users must not meet in one folder because
// their names were made to fit.
func pathElement(key string, value any) (any, error) {
	s := caddy.ToString(value)
	if slices.Contains(clientsWords, strings.TrimPrefix(key, placeholderPrefix)) || strings.HasPrefix(key, metadataPrefix) {
		return resume.SafeName(s), nil
	}
	switch {
	case s == "" && key == placeholderPrefix+"sha256":
		return s, nil // not known while the upload is opened
	case s == "":
		return nil, refuseUpload("There is no place for the upload: {%s} is empty here.", key)
	case s != resume.SafeName(s):
		return nil, refuseUpload("There is no place for the upload: {%s} is %q, which cannot be part of a path.", key, s)
	}
	return s, nil
}

func refuseUpload(format string, args ...any) error {
	return &middleware.Refusal{Code: protocol.Forbidden, Detail: fmt.Sprintf(format, args...)}
}
