package caddymodule

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/wsingest/wsingest/middleware"
)

// ServeHTTP takes uploads, and passes on what is none.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if !middleware.IsUpgrade(r) {
		return next.ServeHTTP(w, r)
	}
	if d := redeliveryFrom(r); d != nil && h.handsOver() {
		return d.take(r, next)
	}
	if p := replayFrom(r); p != nil {
		p.take(h, r, next)
		return nil
	}
	ingest, err := h.engine.get()
	if err != nil {
		w.Header().Set("Retry-After", "5")
		return caddyhttp.Error(http.StatusServiceUnavailable, err)
	}
	c := &call{handler: h, next: next}
	c.upgrade = r.WithContext(context.WithValue(r.Context(), callKey{}, c))
	ingest.Wrap(c).ServeHTTP(w, c.upgrade)
	return c.refused
}

// call is one upgrade on its way through the handler. As a http.Handler it is
// the next one that finished uploads go to; see deliver.go.
type call struct {
	handler *Handler
	next    caddyhttp.Handler
	upgrade *http.Request
	refused error
}

type callKey struct{}

// refuse is the middleware's way to say no before the upgrade: as an error for
// the routes of handle_errors where the site has some, else as problem+json
// (RFC 9457), since Caddy's own answer would be empty.
func refuse(w http.ResponseWriter, r *http.Request, e *middleware.UpgradeError) {
	c := r.Context().Value(callKey{}).(*call)
	if srv := c.handler.server; srv != nil && srv.Errors != nil && len(srv.Errors.Routes) > 0 {
		c.refused = caddyhttp.Error(e.Status, e)
		return
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(e.Status)
	_ = json.NewEncoder(w).Encode(map[string]any{"title": http.StatusText(e.Status), "status": e.Status, "detail": e.Detail})
}
