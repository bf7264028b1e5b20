package caddymodule

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/wsingest/wsingest/middleware"
)

// ServeHTTP delivers a finished upload, which r carries, to the next handlers
// of the route; those of today, when the config that the connection came in
// under is gone.
func (c *call) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	file, ok := middleware.FileFrom(r)
	if !ok {
		panic("ws_ingest: the middleware passed on what is no upload")
	}
	if c.handler.ctx.Err() == nil {
		handOver(w, r, file, c.next, c.handler.log)
		return
	}
	c.deliverAnew(w, r, file)
}

// handsOver reports whether uploads go to the next handlers.
func (h *Handler) handsOver() bool { return h.Deliver == nil || h.Deliver.File == "" }

// handOver gives r to next, as the server would: with a replacer of its own,
// since several uploads of a connection may be delivered at a time, that also
// knows the upload and what the handlers before us have set.
func handOver(w http.ResponseWriter, r *http.Request, file *middleware.File, next caddyhttp.Handler, log *zap.Logger) {
	ctx := r.Context()
	srv, _ := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	repl := caddy.NewReplacer()
	repl.Map(placeholders(file.State))
	r = caddyhttp.PrepareRequest(r, repl, w, srv)
	repl.Map(ctx.Value(caddy.ReplacerCtxKey).(*caddy.Replacer).Get)
	keepOf(ctx, r)

	if err := next.ServeHTTP(w, r); err != nil {
		status := http.StatusInternalServerError
		if e, ok := errors.AsType[caddyhttp.HandlerError](err); ok && e.StatusCode != 0 {
			status = e.StatusCode
		}
		log.Error("delivering an upload", zap.String("upload", string(file.State.ID)), zap.Int("status", status), zap.Error(err))
		w.WriteHeader(status)
	}
}

// routeGroup is caddyhttp's key of which groups of routes were passed through.
const routeGroup = caddy.CtxKey("route_group")

// keepOf puts back into r what PrepareRequest has begun anew, as it was in
// from: the variables, the request as it first came, the groups of routes. r
// itself stays where it is, since its replacer looks at it.
func keepOf(from context.Context, r *http.Request) {
	if was, ok := from.Value(caddyhttp.VarsCtxKey).(map[string]any); ok {
		maps.Copy(r.Context().Value(caddyhttp.VarsCtxKey).(map[string]any), was)
	}
	ctx := context.WithValue(r.Context(), caddyhttp.OriginalRequestCtxKey, from.Value(caddyhttp.OriginalRequestCtxKey))
	if was, ok := from.Value(routeGroup).(map[string]struct{}); ok {
		ctx = context.WithValue(ctx, routeGroup, maps.Clone(was))
	}
	*r = *r.WithContext(ctx)
}

// redelivery is an upload that finished on a connection from before a reload.
// The handlers it was meant for are gone: it goes through the routes of the
// config that is live, as its upgrade request would if it came now, and a
// handler like ours takes it from there.
type redelivery struct {
	file  *middleware.File
	w     http.ResponseWriter
	log   *zap.Logger
	taken bool
}

type redeliveryKey struct{}

func redeliveryFrom(r *http.Request) *redelivery {
	d, _ := r.Context().Value(redeliveryKey{}).(*redelivery)
	return d
}

// deliverAnew sends the upload through the live config. Where no ws_ingest
// takes it there (the route is gone, or refuses the user today), the answer is
// 503, so that the upload stays in the store.
func (c *call) deliverAnew(w http.ResponseWriter, r *http.Request, file *middleware.File) {
	d := &redelivery{file: file, w: w, log: c.handler.engine.log.logger()}
	srv := c.liveServer()
	if srv == nil {
		d.log.Warn("an upload finished on a server that is gone after the reload: it stays in the store", zap.String("upload", string(file.State.ID)))
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	again := c.upgrade.Clone(context.WithValue(r.Context(), redeliveryKey{}, d))
	if was, ok := again.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok {
		again.Method, again.RequestURI = was.Method, was.RequestURI
		u := *was.URL
		again.URL = &u
	}
	nowhere := &discard{header: make(http.Header)}
	srv.ServeHTTP(nowhere, again)
	if !d.taken {
		d.log.Warn("an upload finished on a route that is gone after the reload, or that refuses it today: it stays in the store",
			zap.String("upload", string(file.State.ID)), zap.Int("status", nowhere.status))
		w.WriteHeader(http.StatusServiceUnavailable)
	}
}

// take hands the upload over to the handlers behind the one that found it.
func (d *redelivery) take(r *http.Request, next caddyhttp.Handler) error {
	d.taken = true
	handOver(d.w, d.file.Request(r.Context(), r), d.file, next, d.log)
	return nil
}

// liveServer returns the server that listens today where ours did.
func (c *call) liveServer() *caddyhttp.Server {
	app, err := caddy.ActiveContext().AppIfConfigured("http")
	if err != nil || c.handler.server == nil {
		return nil
	}
	for _, srv := range app.(*caddyhttp.App).Servers {
		for _, address := range c.handler.server.Listen {
			if slices.Contains(srv.Listen, address) {
				return srv
			}
		}
	}
	return nil
}

// discard is the ResponseWriter of the way to the handler.
type discard struct {
	header http.Header
	status int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(p []byte) (int, error) { d.WriteHeader(http.StatusOK); return len(p), nil }
func (d *discard) WriteHeader(status int) {
	if d.status == 0 {
		d.status = status
	}
}
