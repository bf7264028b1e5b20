package middleware

import (
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"

	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/resume"
)

// publish gives the file its name in the directory. An error means that trying
// again may help.
func (in *Ingest) publish(upgrade *http.Request, st resume.State) (protocol.Message, error) {
	if store, ok := in.store.(resume.KeyPublisher); ok {
		return in.publishKey(store, upgrade, st)
	}
	p := in.opts.Publish
	folder, name, err := p.place(upgrade, st)
	if err != nil {
		return rejection(st, refusal(st.ID, refused(err)).Detail), nil
	}
	dir := filepath.Join(p.Dir, folder)
	if folder != "" {
		if err := in.opts.Deliveries.makeFolders(p, st.ID, folder); err != nil {
			return nil, err
		}
	}
	o := resume.PublishOptions{Conflict: p.OnConflict, Mode: p.Mode, Owner: p.Owner}
	if o.Conflict == "" {
		o.Conflict = resume.ConflictRename
	}
	if p.Sidecar {
		o.Sidecar = sidecarOf(st)
	}
	location, err := in.store.(resume.Publisher).Publish(in.work, st.ID, dir, name, o)
	if errors.Is(err, resume.ErrExists) {
		return rejection(st, fmt.Sprintf("A file named %q exists already. Send it again under another name.", name)), nil
	}
	if err != nil {
		return nil, err
	}
	done := doneOf(st)
	done.Location = filepath.ToSlash(filepath.Join(folder, filepath.Base(location)))
	return done, nil
}

func rejection(st resume.State, detail string) *protocol.Error {
	return &protocol.Error{ID: string(st.ID), Code: protocol.Rejected, Detail: detail}
}

// place returns the folder below Dir, in the system's own form, and the name.
func (p *Publish) place(upgrade *http.Request, st resume.State) (folder, name string, err error) {
	switch {
	case p.Path != nil:
		path, err := p.Path(upgrade, st)
		if err != nil {
			return "", "", err
		}
		elements := strings.Split(path, "/")
		for i, e := range elements {
			elements[i] = resume.SafeName(e)
		}
		last := len(elements) - 1
		return filepath.Join(elements[:last]...), elements[last], nil
	case p.Name != nil:
		return "", resume.SafeName(p.Name(st)), nil
	}
	return "", resume.SafeName(st.Name), nil
}
