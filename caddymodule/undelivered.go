package caddymodule

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/wsingest/wsingest/middleware"
	"github.com/wsingest/wsingest/resume"
)

const undeliveredPath = "/ws_ingest/undelivered"

// Undelivered is an upload that is complete, and delivered without its client,
// or given up, in the answer of the admin API.
type Undelivered struct {
	ID       resume.ID  `json:"id"`
	Attempts int        `json:"attempts"`          // since Caddy has its options
	Problem  string     `json:"problem,omitempty"` // of the last one
	Next     *time.Time `json:"next,omitempty"`    // when it is tried next; absent: now, or never
	Dead     bool       `json:"dead"`              // not tried any more by itself
}

func (a *Admin) undelivered(w http.ResponseWriter, r *http.Request) error {
	id := resume.ID(strings.Trim(strings.TrimPrefix(r.URL.Path, undeliveredPath), "/"))
	switch {
	case r.Method == http.MethodGet && id == "":
		return answer(w, undelivered())
	case r.Method == http.MethodPost && id != "":
		for _, in := range runningEngines() {
			if in.Redeliver(id) == nil {
				w.WriteHeader(http.StatusAccepted)
				return nil
			}
		}
		return caddy.APIError{HTTPStatus: http.StatusNotFound, Err: fmt.Errorf("there is no undelivered upload %s", id)}
	}
	w.Header().Set("Allow", "GET, POST")
	return caddy.APIError{HTTPStatus: http.StatusMethodNotAllowed,
		Err: fmt.Errorf("%s %s: GET lists what is undelivered, POST %s/<id> tries one again", r.Method, r.URL.Path, undeliveredPath)}
}

// undelivered returns each upload once: until it is found out whose it is,
// several engines on a store may have it.
func undelivered() []Undelivered {
	found := make(map[resume.ID]middleware.Undelivered)
	for _, in := range runningEngines() {
		for _, u := range in.Undelivered() {
			if found[u.ID].Attempts <= u.Attempts {
				found[u.ID] = u
			}
		}
	}
	list := make([]Undelivered, 0, len(found))
	for _, u := range found {
		shown := Undelivered{ID: u.ID, Attempts: u.Attempts, Problem: u.Problem, Dead: u.Dead}
		if !u.Next.IsZero() {
			shown.Next = &u.Next
		}
		list = append(list, shown)
	}
	slices.SortFunc(list, func(a, b Undelivered) int { return cmp.Compare(a.ID, b.ID) })
	return list
}
