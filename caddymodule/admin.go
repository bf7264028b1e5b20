package caddymodule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/wsingest/wsingest/middleware"
	"github.com/wsingest/wsingest/resume"
)

// Admin is the part of Caddy's admin API that lists uploads and ends them,
// and delivers again what could not be delivered:
//
//	GET    /ws_ingest/uploads
//	GET    /ws_ingest/uploads/{id}
//	DELETE /ws_ingest/uploads/{id}
//	GET    /ws_ingest/undelivered
//	POST   /ws_ingest/undelivered/{id}
//
// It knows the uploads of all stores that the live config uses.
type Admin struct{}

// CaddyModule returns the Caddy module information.
func (*Admin) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "admin.api.ws_ingest",
		New: func() caddy.Module { return new(Admin) },
	}
}

const adminPath = "/ws_ingest/uploads"

// Routes implements caddy.AdminRouter.
func (a *Admin) Routes() []caddy.AdminRoute {
	return []caddy.AdminRoute{
		{Pattern: adminPath, Handler: caddy.AdminHandlerFunc(a.serve)},
		{Pattern: adminPath + "/", Handler: caddy.AdminHandlerFunc(a.serve)},
		{Pattern: undeliveredPath, Handler: caddy.AdminHandlerFunc(a.undelivered)},
		{Pattern: undeliveredPath + "/", Handler: caddy.AdminHandlerFunc(a.undelivered)},
	}
}

func (a *Admin) serve(w http.ResponseWriter, r *http.Request) error {
	id := resume.ID(strings.Trim(strings.TrimPrefix(r.URL.Path, adminPath), "/"))
	switch {
	case r.Method == http.MethodGet && id == "":
		list, err := uploads(r.Context())
		if err != nil {
			return caddy.APIError{HTTPStatus: http.StatusInternalServerError, Err: err}
		}
		return answer(w, list)
	case r.Method == http.MethodGet:
		return a.show(w, r, id)
	case r.Method == http.MethodDelete && id != "":
		return a.remove(w, r, id)
	}
	w.Header().Set("Allow", "GET, DELETE")
	return caddy.APIError{HTTPStatus: http.StatusMethodNotAllowed,
		Err: fmt.Errorf("%s %s: GET lists uploads, DELETE %s/<id> ends one", r.Method, r.URL.Path, adminPath)}
}

func answer(w http.ResponseWriter, v any) error {
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(v)
}

func (a *Admin) show(w http.ResponseWriter, r *http.Request, id resume.ID) error {
	s, st, err := find(r.Context(), id)
	if err != nil {
		return err
	}
	return answer(w, describe(s, st, connections()))
}

func (a *Admin) remove(w http.ResponseWriter, r *http.Request, id resume.ID) error {
	s, _, err := find(r.Context(), id)
	if err != nil {
		return err
	}
	open, err := s.get()
	if err == nil {
		err = open.Delete(r.Context(), id)
	}
	if err != nil && !errors.Is(err, resume.ErrNotFound) {
		return caddy.APIError{HTTPStatus: http.StatusInternalServerError, Err: err}
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// Upload is one in the answer of the admin API.
type Upload struct {
	ID       resume.ID         `json:"id"`
	Store    string            `json:"store"`
	Owner    string            `json:"owner,omitempty"`
	Name     string            `json:"name,omitempty"`
	Type     string            `json:"type,omitempty"`
	Metadata map[string]string `json:"metadata,omitempty"`
	Phase    resume.Phase      `json:"phase"`
	Length   *int64            `json:"length,omitempty"` // absent: not known yet
	Received int64             `json:"received"`         // bytes taken in
	Durable  int64             `json:"durable"`          // bytes on stable storage
	Created  time.Time         `json:"created"`
	Updated  time.Time         `json:"updated"`
	Expires  *time.Time        `json:"expires,omitempty"`

	// Connections that send it now, or wait for its delivery.
	Connections []Connection `json:"connections,omitempty"`
}

// Connection is one that an upload has.
type Connection struct {
	Remote  string  `json:"remote"`
	Plain   bool    `json:"plain,omitempty"`
	Seconds float64 `json:"seconds"` // since it was made
	Bytes   int64   `json:"bytes"`   // of file data taken in on it
	Rate    int64   `json:"rate"`    // bytes a second lately
}

// uploads returns all there are, the newest first.
func uploads(ctx context.Context) ([]Upload, error) {
	list, live := []Upload{}, connections()
	for _, s := range openStores() {
		open, err := s.get()
		if errors.Is(err, ErrStoreInUse) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for st, err := range open.All(ctx) {
			if err == nil { // one that cannot be read is in the log
				list = append(list, describe(s, st, live))
			}
		}
	}
	slices.SortFunc(list, func(a, b Upload) int { return b.Created.Compare(a.Created) })
	return list, ctx.Err()
}

func find(ctx context.Context, id resume.ID) (*store, resume.State, error) {
	for _, s := range openStores() {
		if open, err := s.get(); err == nil {
			if st, err := open.Stat(ctx, id); err == nil {
				return s, st, nil
			}
		}
	}
	return nil, resume.State{}, caddy.APIError{HTTPStatus: http.StatusNotFound, Err: fmt.Errorf("there is no upload %s", id)}
}

func describe(s *store, st resume.State, live map[resume.ID][]Connection) Upload {
	u := Upload{ID: st.ID, Store: s.module.StoreKey(), Owner: st.Owner, Name: st.Name, Type: st.Type, Metadata: st.Metadata,
		Phase: st.Phase, Received: st.Received.Size(), Durable: st.Durable.Size(), Created: st.Created, Updated: st.Updated,
		Connections: live[st.ID]}
	if st.Length != resume.UnknownLength {
		u.Length = &st.Length
	}
	if !st.Expires.IsZero() {
		u.Expires = &st.Expires
	}
	return u
}

// openStores returns the stores in use.
func openStores() (list []*store) {
	stores.Range(func(_, v any) bool {
		list = append(list, v.(*store))
		return true
	})
	return list
}

// connections returns those of every engine, by the uploads they have.
func connections() map[resume.ID][]Connection {
	live := make(map[resume.ID][]Connection)
	for _, in := range append(runningEngines(), retiredEngines()...) {
		for _, c := range in.Connections() {
			for _, id := range append(c.Finishing, c.Upload) {
				if id != "" {
					live[id] = append(live[id], connection(c))
				}
			}
		}
	}
	return live
}

// runningEngines returns what takes uploads now.
func runningEngines() (list []*middleware.Ingest) {
	engines.Range(func(_, v any) bool {
		if in := v.(*engine).running(); in != nil {
			list = append(list, in)
		}
		return true
	})
	return list
}

func retiredEngines() (list []*middleware.Ingest) {
	for _, e := range retired.all() {
		if in := e.running(); in != nil {
			list = append(list, in)
		}
	}
	return list
}

func connection(c middleware.Connection) Connection {
	return Connection{Remote: c.Remote, Plain: c.Plain, Seconds: c.Age.Seconds(), Bytes: c.Bytes, Rate: c.Rate}
}

var _ caddy.AdminRouter = (*Admin)(nil)
