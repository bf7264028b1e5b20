package caddymodule

import (
	"context"
	"net/http"
	"net/url"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/wsingest/wsingest/middleware"
	"github.com/wsingest/wsingest/resume"
)

// replay is a delivery without its client on the way through the routes of the
// config that is live, as the client's request would go if it came now, to find
// the handler that it is for.
type replay struct {
	engine    *engine
	deliver   func(*http.Request, http.Handler)
	upload    resume.State
	taken     bool
	elsewhere bool // it is for another engine
}

type replayKey struct{}

func replayFrom(r *http.Request) *replay {
	p, _ := r.Context().Value(replayKey{}).(*replay)
	return p
}

// replay is the engine's middleware.Options.Replay. Where a route wants to know
// who the client is, what says so was not kept, and it has no MatchRedelivery,
// nobody takes the upload: it waits for its client.
func (e *engine) replay(r *http.Request, deliver func(*http.Request, http.Handler)) bool {
	p := &replay{engine: e, deliver: deliver}
	p.upload, _ = middleware.ReplayedFrom(r)
	for _, srv := range serversOf(e.store) {
		again := r.Clone(context.WithValue(r.Context(), replayKey{}, p))
		nowhere := &discard{header: make(http.Header)}
		srv.ServeHTTP(nowhere, again)
		if p.taken || p.elsewhere {
			break
		}
		if nowhere.status == http.StatusUnauthorized || nowhere.status == http.StatusForbidden {
			e.log.logger().Warn("an upload without its client does not get past the handlers in front of ws_ingest: should they let it, with the matcher ws_ingest_redelivery?",
				zap.String("upload", string(p.upload.ID)), zap.Int("status", nowhere.status))
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
		p.nameUser(h, replacer(r))
		p.deliver(r, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			file, ok := middleware.FileFrom(r)
			if !ok {
				panic("ws_ingest: the middleware passed on what is no upload")
			}
			handOver(w, r, file, next, h.log)
		}))
	}
}

// nameUser has handlers behind ours, and the path of a file, find who the upload
// is from where they found it while the client was there.
func (p *replay) nameUser(h *Handler, repl *caddy.Replacer) {
	const user = "http.auth.user.id"
	if _, known := repl.Get(user); !known && h.Owner == "" && h.tickets == nil && p.upload.Owner != "" {
		repl.Set(user, p.upload.Owner)
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
