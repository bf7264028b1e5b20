package caddymodule

import (
	"context"
	"net/http"
	"net/url"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/wsingest/wsingest/middleware"
)

// replay is a delivery without its client on the way through the routes of the
// config that is live, as the client's request would go if it came now, to find
// the handler that it is for.
type replay struct {
	engine    *engine
	deliver   func(*http.Request, http.Handler)
	taken     bool
	elsewhere bool // it is for another engine
}

type replayKey struct{}

func replayFrom(r *http.Request) *replay {
	p, _ := r.Context().Value(replayKey{}).(*replay)
	return p
}

// replay is the engine's middleware.Options.Replay. Where a route wants to know
// who the client is, and what says so was not kept, nobody takes the upload: it
// waits for its client.
func (e *engine) replay(r *http.Request, deliver func(*http.Request, http.Handler)) bool {
	p := &replay{engine: e, deliver: deliver}
	for _, srv := range serversOf(e.store) {
		again := r.Clone(context.WithValue(r.Context(), replayKey{}, p))
		srv.ServeHTTP(&discard{header: make(http.Header)}, again)
		if p.taken || p.elsewhere {
			break
		}
	}
	return !p.elsewhere
}

// originalURL returns the URL as it came in: handlers before ours rewrite it.
func originalURL(r *http.Request) *url.URL {
	if was, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok {
		return was.URL
	}
	return r.URL
}

// take is called by the handler that the replay came to.
func (p *replay) take(h *Handler, r *http.Request, next caddyhttp.Handler) {
	switch {
	case p.taken || h.engine.store != p.engine.store: // such as of a directory that the route has now
	case h.engine != p.engine:
		p.elsewhere = true
	default:
		p.taken = true
		p.deliver(r, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			file, ok := middleware.FileFrom(r)
			if !ok {
				panic("ws_ingest: the middleware passed on what is no upload")
			}
			handOver(w, r, file, next, h.log)
		}))
	}
}

// serversOf returns the servers of the live config that have a handler with
// that store.
func serversOf(s *store) (list []*caddyhttp.Server) {
	app, err := caddy.ActiveContext().AppIfConfigured("http")
	if err != nil {
		return nil
	}
	serving := make(map[*caddyhttp.Server]bool)
	for _, srv := range app.(*caddyhttp.App).Servers {
		serving[srv] = true
	}
	live.mu.Lock()
	defer live.mu.Unlock()
	for _, h := range live.list {
		if h.engine.store == s && serving[h.server] && !slices.Contains(list, h.server) {
			list = append(list, h.server)
		}
	}
	return list
}
