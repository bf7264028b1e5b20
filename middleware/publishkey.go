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

// canPublish finds what a store cannot do of p.
func canPublish(store resume.Store, p *Publish) error {
	if p == nil {
		return nil
	}
	switch store.(type) {
	case resume.KeyPublisher:
		if p.Mode != 0 || p.Owner != nil || p.Sidecar {
			return fmt.Errorf("Publish.Mode, Publish.Owner and Publish.Sidecar are for files, but a %T publishes objects: leave them out", store)
		}
	case resume.Publisher:
	default:
		return fmt.Errorf("Publish is set, but a %T cannot publish files", store)
	}
	return nil
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
