package caddymodule

import (
	"encoding/json"
	"io/fs"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/wsingest/wsingest/middleware/ticket"
	"github.com/wsingest/wsingest/resume"
)

func init() {
	caddy.RegisterModule(new(Handler))
	caddy.RegisterModule(new(FileStore))
	caddy.RegisterModule(new(Admin))
}

// Handler takes file uploads over WebSocket, resumable and in any number of
// pieces, in front of the other handlers of its route. When an upload is
// complete, the next handler gets it as one ordinary request whose body is the
// whole file, and its answer goes back to the client. What is no WebSocket
// upgrade goes to the next handler untouched.
//
// Running uploads survive a config reload. Handlers with the same options share
// one engine, over reloads too: its connections, memory and counters.
//
// These placeholders are there for the next handlers, for the path of `deliver`,
// and as the data of the events `ws_ingest.opened`, `.resumed`, `.completed`,
// `.rejected` and `.expired`:
//
// Placeholder | Description
// ------------|---------------
// `{ws_ingest.id}` | Id of the upload
// `{ws_ingest.name}` | Name of the file as the client gave it; made safe in paths
// `{ws_ingest.length}` | Length in bytes
// `{ws_ingest.type}` | Media type, if the client gave one
// `{ws_ingest.sha256}` | SHA-256 in hexadecimal, if `sha256` is on or the client asked for it
// `{ws_ingest.owner}` | Owner of the upload
// `{ws_ingest.duration}` | Time from the creation of the upload until now, such as 1m3.5s
// `{ws_ingest.metadata.*}` | What the client sent along under that key
type Handler struct {
	Config

	store   StoreModule
	tickets *ticket.Verifier // nil: no ticket is needed
	engine  *engine
	ctx     caddy.Context
	server  *caddyhttp.Server // nil outside of a HTTP server
	events  *caddyevents.App
	log     *zap.Logger
}

// Config is the options of the handler.
type Config struct {
	// Where uploads are kept until they are delivered. Default: `file`, in the
	// directory `ws_ingest` below Caddy's data directory.
	StoreRaw json.RawMessage `json:"store,omitempty" caddy:"namespace=http.ws_ingest.stores inline_key=store"`

	// What becomes of a finished upload. Default: the next handler of the route
	// gets it, as a POST.
	Deliver *Deliver `json:"deliver,omitempty"`

	// URL of a server that is told of every upload that was delivered, with a
	// POST of JSON, at least once: before the client is told, and again for as
	// long as the server fails. Default: none.
	Webhook string `json:"webhook,omitempty"`

	// Signs that POST, as Standard Webhooks are: `whsec_` and a key in base64, or
	// any text. Placeholders such as `{env.HOOK_SECRET}` keep it out of the config.
	// Default: not signed.
	WebhookSecret string `json:"webhook_secret,omitempty"`

	// Whose the upload is, usually a placeholder. Nobody can resume, see or
	// cancel the upload of another owner. Default: `{http.auth.user.id}`.
	Owner string `json:"owner,omitempty"`

	// Keys of signed tickets, without which nothing can be uploaded then: one, or
	// the new and the old one. Each has at least 32 bytes, usually from a
	// placeholder such as `{env.UPLOAD_KEY}`; one without a value is an error. A
	// ticket that names an owner goes before `owner`. Default: none, no ticket is
	// needed.
	TicketKeys []string `json:"ticket_keys,omitempty"`

	// Kinds of content that are taken, such as `application/pdf` or `image/*`,
	// told by the first bytes. Other files are refused as soon as these have come.
	// Default: every kind.
	AcceptTypes []string `json:"accept_types,omitempty"`

	// The most bytes an upload may have. Default: no bound.
	MaxSize int64 `json:"max_size,omitempty"`

	// How long after its creation an upload must be finished; one that is not is
	// removed, also while bytes of it come in. Default: no bound.
	MaxLifetime caddy.Duration `json:"max_lifetime,omitempty"`

	// How many bytes of uploads that are not delivered yet one owner may have in
	// the store. Default: no bound.
	QuotaPerOwner int64 `json:"quota_per_owner,omitempty"`

	// How many uploads that are not delivered yet one owner may have in the store.
	// Default: no bound.
	MaxUploadsPerOwner int `json:"max_uploads_per_owner,omitempty"`

	// How fast file data may come in. Default: no bound.
	Bandwidth *Bandwidth `json:"bandwidth,omitempty"`

	// Hosts besides the site's own whose pages may upload: `app.example.com`,
	// `*.example.com`, `https://app.example.com`, or `*` for every page of the web.
	AllowOrigins []string `json:"allow_origins,omitempty"`

	// How a connection is kept on which nothing happens.
	Keepalive *Keepalive `json:"keepalive,omitempty"`

	// The most bytes of file data that all connections together hold in memory on
	// the way to the store, at least 1 MiB. Default: 256 MiB.
	Memory int64 `json:"memory,omitempty"`

	// The most upload connections at a time; one more is refused with status 503.
	// Default: 10,000.
	MaxConnections int `json:"max_connections,omitempty"`

	// The most upload connections of one owner; one more is refused with status
	// 429. Each lane of an upload is a connection. Default: no bound.
	MaxConnectionsPerOwner int `json:"max_connections_per_owner,omitempty"`

	// The most upload connections from one address, of IPv6 from one /64; one more
	// is refused with status 429. Behind a proxy that Caddy trusts it is the
	// client's address, not the proxy's. Default: no bound.
	MaxConnectionsPerAddress int `json:"max_connections_per_address,omitempty"`

	// Whether the SHA-256 of every upload is computed, and not only of those whose
	// client asks for it. Default: false.
	SHA256 bool `json:"sha256,omitempty"`
}

// Deliver says what becomes of a finished upload.
type Deliver struct {
	// Path of the file it is published as, with placeholders: folders that are
	// missing are made, and the file appears whole or not at all. Values of
	// placeholders are never more than one element of the path. With a store in a
	// bucket it is the object's key. Default: none, the next handler gets the
	// upload.
	File string `json:"file,omitempty"`

	// What happens when there is a file at that path: `rename` finds a free name
	// ("a (1).txt"), `overwrite` replaces it, `fail` rejects the upload. Default:
	// `rename`.
	OnConflict string `json:"on_conflict,omitempty"`

	// Permissions of the file, in octal: 0400 to 0777. Folders that are made for it
	// may be entered by whoever may read it. Default: 0600.
	Mode string `json:"mode,omitempty"`

	// User and group that the file and such folders belong to, by name or by
	// number, as `chown` takes them: `app`, `app:www`, `:www`. Another user takes a
	// Caddy that runs as root or with CAP_CHOWN; a group takes one that is in it.
	// Default: those of Caddy.
	Chown string `json:"chown,omitempty"`

	// Whether what is known of the upload stands beside the file, as JSON in a file
	// of the same name with `.upload.json` behind. It is there before the file is,
	// and an upload is never published under its name. Default: false.
	Sidecar bool `json:"sidecar,omitempty"`

	// Method of the request that the next handler gets. Default: POST.
	Method string `json:"method,omitempty"`

	// How long a delivery that fails (no file can be written, status 408, 425, 429
	// or 5xx) is tried again before the client is told to come back later. The
	// upload is not lost. Default: 15m.
	RetryFor caddy.Duration `json:"retry_for,omitempty"`

	// How long it is tried again after that without the client, also after a
	// restart; negative: not at all. Default: 7d.
	RedeliverFor caddy.Duration `json:"redeliver_for,omitempty"`

	// Headers of the client's request that such a delivery needs, besides those
	// that say where it came from: they are written to the disk with the upload,
	// until it is delivered. Default: none, and so no credentials.
	KeepHeaders []string `json:"keep_headers,omitempty"`

	// Parameters of the URL of the client's request that such a delivery needs,
	// kept like the headers. Default: those of the protocol, without the ticket.
	KeepQuery []string `json:"keep_query,omitempty"`

	mode  fs.FileMode
	owner *resume.FileOwner

	keys bool // File is a key
}

// Bandwidth is how fast file data may come in, in bytes a second, 16 KiB at
// least. It counts for all handlers with the same options together.
type Bandwidth struct {
	// The most of one connection. Default: no bound.
	PerConnection int64 `json:"per_connection,omitempty"`

	// The most of all connections of one owner together, which share it equally.
	// Default: no bound.
	PerOwner int64 `json:"per_owner,omitempty"`

	// The most of all connections together, which share it equally. Default: no
	// bound.
	Total int64 `json:"total,omitempty"`
}

// Keepalive is how a connection is kept on which nothing happens.
type Keepalive struct {
	// How often a client hears something at the least, 1s to 25s. Default: 15s.
	Interval caddy.Duration `json:"interval,omitempty"`

	// How long a connection may send nothing, not even a pong, before it counts as
	// dead; at least twice the interval. Default: 60s.
	Timeout caddy.Duration `json:"timeout,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (*Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.ws_ingest",
		New: func() caddy.Module { return new(Handler) },
	}
}

var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.Validator             = (*Handler)(nil)
	_ caddy.CleanerUpper          = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
	_ caddyfile.Unmarshaler       = (*Handler)(nil)
	_ http.Handler                = (*call)(nil)
)
