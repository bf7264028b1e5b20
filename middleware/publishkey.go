package middleware

import (
	"errors"
	"fmt"
	"net/http"
	"path"
	"path/filepath"
	"strings"

	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/resume"
)

// canPublish reports whether a store can give files their final place.
func canPublish(store resume.Store) bool {
	switch store.(type) {
	case resume.Publisher, resume.KeyPublisher:
		return true
	}
	return false
}

// publishKey is publish where files are objects: Dir is what their keys begin
// with, and folders need not be made.
func (in *Ingest) publishKey(store resume.KeyPublisher, upgrade *http.Request, st resume.State) (protocol.Message, error) {
	p := in.opts.Publish
	folder, name, err := p.place(upgrade, st)
	if err != nil {
		return rejection(st, refusal(st.ID, refused(err)).Detail), nil
	}
	dir := strings.Trim(filepath.ToSlash(p.Dir), "/")
	conflict := p.OnConflict
	if conflict == "" {
		conflict = resume.ConflictRename
	}
	final, err := store.PublishKey(in.work, st.ID, path.Join(dir, filepath.ToSlash(folder), name), conflict)
	if errors.Is(err, resume.ErrExists) {
		return rejection(st, fmt.Sprintf("A file named %q exists already. Send it again under another name.", name)), nil
	}
	if err != nil {
		return nil, err
	}
	done := doneOf(st)
	done.Location = strings.TrimPrefix(final, dir+"/")
	return done, nil
}
