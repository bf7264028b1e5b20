package caddymodule

import (
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func init() { caddy.RegisterModule(MatchRedelivery{}) }

// MatchRedelivery matches the request by which a complete upload goes through
// the routes to its ws_ingest without its client, after a restart or a failure.
// Nothing that comes in from outside is such a request.
//
// What is kept of the client's request has no credentials. Handlers in front that
// ask for some, and have asked the client, let it pass with
// `@client not ws_ingest_redelivery`.
type MatchRedelivery struct{}

// CaddyModule returns the Caddy module information.
func (MatchRedelivery) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.matchers.ws_ingest_redelivery",
		New: func() caddy.Module { return new(MatchRedelivery) },
	}
}

// UnmarshalCaddyfile reads `ws_ingest_redelivery`, which has no arguments.
func (*MatchRedelivery) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	for d.Next() {
		if d.NextArg() || d.NextBlock(d.Nesting()) {
			return d.Errf("ws_ingest_redelivery takes no argument, and %q is one", d.Val())
		}
	}
	return nil
}

// MatchWithError implements caddyhttp.RequestMatcherWithError.
func (MatchRedelivery) MatchWithError(r *http.Request) (bool, error) {
	return replayFrom(r) != nil, nil
}

var (
	_ caddyfile.Unmarshaler             = (*MatchRedelivery)(nil)
	_ caddyhttp.RequestMatcherWithError = (*MatchRedelivery)(nil)
)
