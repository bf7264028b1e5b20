package middleware_test

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/wsingest/wsingest/middleware"
	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/resume"
)

func TestPublishChoosesFolderAndName(t *testing.T) {
	dir := t.TempDir()
	var kinds []middleware.EventKind
	r := newRig(t, rigOptions{Options: middleware.Options{
		Publish: &middleware.Publish{
			Dir: dir,
			Path: func(r *http.Request, st resume.State) (string, error) {
				if st.Name == "nameless" {
					return "", errors.New("there is no place for files without a name")
				}
				return r.URL.Query().Get("user") + "/2026/" + st.Name, nil
			},
			OnConflict: resume.ConflictFail,
		},
		Observer: func(e middleware.Event) {
			if e.State != nil {
				kinds = append(kinds, e.Kind)
			}
		},
	}})
	put := func(user, name string) *peer {
		p := r.dial("user="+user, protocol.Subprotocol)
		o := open(resume.NewID(), 4)
		o.Name = name
		p.Send(o)
		next[*protocol.Ready](p)
		p.Data([]byte("data"))
		p.Send(&protocol.Finish{})
		return p
	}
	for _, c := range []struct{ user, name, location string }{
		{"alice", "a.txt", "alice/2026/a.txt"},
		{"alice", "../../b.txt", "alice/2026/upload/upload/b.txt"},
		{"..", "c.txt", "upload/2026/c.txt"},
	} {
		if done := next[*protocol.Done](put(c.user, c.name)); done.Location != c.location {
			t.Errorf("%s's %s was published as %q, expected %q", c.user, c.name, done.Location, c.location)
		}
		if got, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(c.location))); err != nil || string(got) != "data" {
			t.Errorf("%s holds %q (%v)", c.location, got, err)
		}
	}
	for _, name := range []string{"a.txt", "nameless"} {
		e := next[*protocol.Error](put("alice", name))
		if e.Code != protocol.Rejected {
			t.Errorf("%s: %s, expected rejected", name, e.Code)
		}
	}
	want := 0
	for _, k := range kinds {
		if k == middleware.Rejected {
			want++
		}
	}
	if want != 2 {
		t.Errorf("%d events of rejected uploads, expected 2 (%v)", want, kinds)
	}
}
