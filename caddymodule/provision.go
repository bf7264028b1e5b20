package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/wsingest/wsingest/middleware"
	"github.com/wsingest/wsingest/middleware/ticket"
	"github.com/wsingest/wsingest/resume"
)

// Provision opens the store, or finds it open, and takes part in the engine.
func (h *Handler) Provision(ctx caddy.Context) error {
	h.ctx, h.log = ctx, ctx.Logger()
	if srv, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server); ok {
		h.server = srv
		if err := checkProtocols(srv); err != nil {
			return err
		}
		srv.RegisterOnShutdown(h.serverStops)
	}
	if err := h.check(); err != nil {
		return err
	}
	if err := h.readTicketKeys(); err != nil {
		return err
	}
	events, err := ctx.App("events")
	if err != nil {
		return fmt.Errorf("getting the events app: %w", err)
	}
	h.events = events.(*caddyevents.App)
	if err := h.loadStore(); err != nil {
		return err
	}
	if h.engine, err = takeEngine(h); err != nil {
		return err
	}
	live.add(h)
	return registerMetrics(ctx.GetMetricsRegistry())
}

// readTicketKeys puts the keys in the place of their placeholders, before the
// engine is looked for: one with other keys is another.
func (h *Handler) readTicketKeys() (err error) {
	if h.TicketKeys == nil {
		return nil
	}
	var keys [][]byte
	texts := make([]string, len(h.TicketKeys))
	for i, key := range h.TicketKeys {
		if texts[i], err = caddy.NewReplacer().ReplaceOrErr(key, true, true); err != nil {
			// Not err itself: a key with braces in it would be told.
			return fmt.Errorf("ws_ingest: ticket_key: a placeholder in key %d has no value: is the environment variable set where Caddy runs?", i+1)
		}
		keys = append(keys, []byte(texts[i]))
	}
	if h.tickets, err = ticket.NewVerifier(keys...); err != nil {
		return fmt.Errorf("ws_ingest: ticket_key: %w", err)
	}
	h.TicketKeys = texts
	return nil
}

func (h *Handler) loadStore() error {
	if h.StoreRaw == nil {
		file := new(FileStore)
		h.store = file
		return file.Provision(h.ctx)
	}
	module, err := h.ctx.LoadModule(&h.Config, "StoreRaw")
	if err != nil {
		return fmt.Errorf("loading the store: %w", err)
	}
	store, ok := module.(StoreModule)
	if !ok {
		return fmt.Errorf("the module %T is in the namespace of stores, but is no StoreModule", module)
	}
	h.store = store
	return nil
}

// checkProtocols refuses a server on which no WebSocket can be opened. Over
// HTTP/2 and HTTP/3 one needs extended CONNECT (RFC 8441, RFC 9220), which is
// off in Go: browsers and clients open a connection with HTTP/1.1 for it.
func checkProtocols(srv *caddyhttp.Server) error {
	speaksH1 := func(protocols []string) bool { return len(protocols) == 0 || slices.Contains(protocols, "h1") }
	can := false
	for i := range srv.Listen {
		protocols := srv.Protocols
		if i < len(srv.ListenProtocols) && srv.ListenProtocols[i] != nil {
			protocols = srv.ListenProtocols[i]
		}
		can = can || speaksH1(protocols)
	}
	if can || len(srv.Listen) == 0 && speaksH1(srv.Protocols) {
		return nil
	}
	return fmt.Errorf("ws_ingest can never take an upload here: the server's protocols are %v, but a WebSocket is opened over HTTP/1.1; add h1 to the protocols (browsers use it for WebSockets alone)", srv.Protocols)
}

// Validate checks what Provision has put together.
func (h *Handler) Validate() error {
	if h.engine == nil || h.store == nil {
		return errors.New("ws_ingest was not provisioned")
	}
	return nil
}

// check finds options that are nonsense. The rest is found by the middleware
// and the store.
func (h *Handler) check() error {
	refuse := func(option string, value any, expected string) error {
		return fmt.Errorf("ws_ingest: %s is %v, expected %s", option, value, expected)
	}
	if h.MaxSize < 0 {
		return refuse("max_size", h.MaxSize, "a number of bytes")
	}
	if h.QuotaPerOwner < 0 {
		return refuse("quota_per_owner", h.QuotaPerOwner, "a number of bytes")
	}
	if h.MaxLifetime < 0 {
		return refuse("max_lifetime", time.Duration(h.MaxLifetime), "a duration")
	}
	if h.Webhook != "" {
		u, err := url.Parse(h.Webhook)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return refuse("webhook", fmt.Sprintf("%q", h.Webhook), "an http or https URL")
		}
	}
	if h.WebhookSecret != "" {
		switch s := secret(h.WebhookSecret); {
		case h.Webhook == "":
			return errors.New("ws_ingest: webhook_secret needs a webhook")
		case s == "":
			return errors.New("ws_ingest: webhook_secret is empty once its placeholders are filled in: the webhook would not be signed")
		}
	}
	if k := h.Keepalive; k != nil && (k.Interval < 0 || k.Timeout < 0) {
		return refuse("keepalive", fmt.Sprintf("%v %v", time.Duration(k.Interval), time.Duration(k.Timeout)), "durations that are not negative")
	}
	if d := h.Deliver; d != nil {
		d.keys = h.publishesKeys()
		return d.check()
	}
	return nil
}

// options makes the middleware's of the handler's. They outlive the handler: no
// part of it may be in them.
func (h *Handler) options(e *engine) middleware.Options {
	o := middleware.Options{
		AllowedOrigins:           h.AllowOrigins,
		MaxSize:                  h.MaxSize,
		QuotaPerOwner:            h.QuotaPerOwner,
		MaxLifetime:              time.Duration(h.MaxLifetime),
		MaxUploadsPerOwner:       h.MaxUploadsPerOwner,
		MaxConnections:           h.MaxConnections,
		MaxConnectionsPerOwner:   h.MaxConnectionsPerOwner,
		MaxConnectionsPerAddress: h.MaxConnectionsPerAddress,
		Address:                  clientAddress,
		Memory:                   h.Memory,
		Owner:                    ownerFrom(h.Owner),
		Tickets:                  h.tickets,
		AcceptTypes:              h.AcceptTypes,
		Refuse:                   refuse,
		Deliveries:               &e.store.deliveries,
		Logger:                   e.log.logger(),
		Observer:                 e.observe,
		Replay:                   &middleware.Replay{To: e.replay, URL: originalURL},
	}
	if k := h.Keepalive; k != nil {
		o.Keepalive = middleware.Keepalive{Interval: time.Duration(k.Interval), Timeout: time.Duration(k.Timeout)}
	}
	if b := h.Bandwidth; b != nil {
		o.Bandwidth = middleware.Bandwidth(*b)
	}
	if d := h.Deliver; d != nil {
		o.DeliverMethod, o.DeliverFor = d.Method, time.Duration(d.RetryFor)
		o.RedeliverFor, o.KeepHeaders, o.KeepQuery = time.Duration(d.RedeliverFor), d.KeepHeaders, d.KeepQuery
		o.Publish = d.publish()
	}
	if h.Webhook != "" {
		o.Confirm = (&middleware.Webhook{URL: h.Webhook, Secret: secret(h.WebhookSecret), Logger: o.Logger}).Confirm
	}
	o.OnOpen = admission(h.Config, o.Publish)
	return o
}

// secret fills in what is kept out of the config.
func secret(s string) string { return caddy.NewReplacer().ReplaceAll(s, "") }

// admission is the middleware's hook before an upload is opened.
func admission(c Config, p *middleware.Publish) func(context.Context, *middleware.Opening) error {
	return func(_ context.Context, o *middleware.Opening) error {
		o.Info.WantSHA256 = o.Info.WantSHA256 || c.SHA256
		if p == nil {
			return nil
		}
		// A path that cannot be is better found before the bytes than after.
		_, err := p.Path(o.Request, resume.State{Info: o.Info})
		return err
	}
}

const defaultOwner = "{http.auth.user.id}"

func ownerFrom(template string) func(*http.Request) string {
	if template == "" {
		template = defaultOwner
	}
	return func(r *http.Request) string { return replacer(r).ReplaceAll(template, "") }
}

// clientAddress is who Caddy says the client is: behind proxies it trusts, whom
// they name.
func clientAddress(r *http.Request) string {
	address, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	return address
}

func replacer(r *http.Request) *caddy.Replacer {
	return r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
}

// serverStops is told when the server shuts down, which it also does on a
// reload. On exit the uploads need not wait for what else the server waits for.
func (h *Handler) serverStops() {
	if caddy.Exiting() && h.engine != nil {
		h.engine.drain(h.gracePeriod())
		for _, e := range retired.all() {
			e.drain(h.gracePeriod())
		}
	}
}

// gracePeriod returns how long uploads may take to end when Caddy exits.
func (h *Handler) gracePeriod() time.Duration {
	if app, err := h.ctx.AppIfConfigured("http"); err == nil {
		if d := app.(*caddyhttp.App).GracePeriod; d > 0 {
			return time.Duration(d)
		}
	}
	return defaultGrace
}

// Cleanup gives up the engine. On exit it waits until the uploads were brought
// to a good end, within the grace period.
func (h *Handler) Cleanup() error {
	if h.engine == nil {
		return nil
	}
	h.serverStops()
	live.remove(h)
	_, err := engines.Delete(h.engine.key)
	return err
}
