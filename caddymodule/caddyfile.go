package caddymodule

import (
	"math"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/dustin/go-humanize"

	"github.com/wsingest/wsingest/resume/filestore"
)

func init() {
	httpcaddyfile.RegisterHandlerDirective("ws_ingest", func(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		handler := new(Handler)
		return handler, handler.UnmarshalCaddyfile(h.Dispenser)
	})
	// Behind whatever says who the client is, and before everything that answers:
	// what is no upload passes through, so it may stand before handle and route.
	httpcaddyfile.RegisterDirectiveOrder("ws_ingest", httpcaddyfile.Before, "invoke")
}

// UnmarshalCaddyfile reads the directive:
//
//	ws_ingest [<matcher>] {
//		store           file [<directory>]
//		expire          <duration>|never
//		sync            <size> [<duration>]
//		reserve         <size>
//		deliver         next [<method>] | file <path> {
//			on_conflict   rename|overwrite|fail
//			mode          <octal>
//			chown         [<user>][:<group>]
//			sidecar
//			retry_for     <duration>
//			redeliver_for <duration>|never
//			keep_headers  <name>...
//			keep_query    <name>...
//		}
//		on_complete     webhook <url> [<secret>]
//		owner           <placeholder>
//		ticket_key      <key> [<old key>]
//		accept_types    <media type>...
//		max_size        <size>
//		max_lifetime    <duration>
//		quota           <size> per_owner
//		max_uploads     <number> per_owner
//		bandwidth       <size> per_connection|per_owner|total
//		allow_origin    <host>...
//		keepalive       <interval> [<timeout>]
//		memory          <size>
//		max_connections <number> [per_owner|per_address]
//		sha256
//	}
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the directive
	if d.NextArg() {
		return d.Errf("ws_ingest takes no argument but a matcher, and %q is none: a path begins with a slash", d.Val())
	}
	p := parser{Dispenser: d, h: h}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if err := p.option(); err != nil {
			return err
		}
	}
	return p.finish()
}

// parser reads the options of one directive.
type parser struct {
	*caddyfile.Dispenser
	h    *Handler
	name string // of the option at hand, for errors
	seen []string

	store caddy.Module // as named; nil: not named
	file  FileStore    // what expire, sync and reserve say
}

// subdirectives are the options by name.
var subdirectives = map[string]func(*parser) error{
	"store":           (*parser).parseStore,
	"expire":          (*parser).parseExpire,
	"sync":            (*parser).parseSync,
	"reserve":         func(p *parser) error { return p.size(&p.file.Reserve) },
	"deliver":         (*parser).parseDeliver,
	"on_complete":     (*parser).parseOnComplete,
	"owner":           func(p *parser) error { return p.text(&p.h.Owner) },
	"ticket_key":      (*parser).parseTicketKey,
	"accept_types":    (*parser).parseAcceptTypes,
	"max_size":        func(p *parser) error { return p.size(&p.h.MaxSize) },
	"max_lifetime":    (*parser).parseMaxLifetime,
	"quota":           (*parser).parseQuota,
	"max_uploads":     (*parser).parseMaxUploads,
	"bandwidth":       (*parser).parseBandwidth,
	"allow_origin":    (*parser).parseAllowOrigin,
	"keepalive":       (*parser).parseKeepalive,
	"memory":          func(p *parser) error { return p.size(&p.h.Memory) },
	"max_connections": (*parser).parseMaxConnections,
	"sha256":          func(p *parser) error { p.h.SHA256 = true; return p.end() },
}

// subdirectiveNames are the same in the order of the documentation.
var subdirectiveNames = []string{
	"store", "expire", "sync", "reserve", "deliver", "on_complete", "owner", "ticket_key", "accept_types", "max_size", "max_lifetime",
	"quota", "max_uploads", "bandwidth", "allow_origin", "keepalive", "memory", "max_connections", "sha256",
}

// repeatable are the options that may stand more than once.
var repeatable = []string{"allow_origin", "accept_types", "bandwidth", "max_connections"}

func (p *parser) option() error {
	name := p.Val()
	p.name = name
	parse, ok := subdirectives[name]
	switch {
	case !ok:
		return p.Errf("unknown option %q of ws_ingest, known are %s", name, strings.Join(subdirectiveNames, ", "))
	case slices.Contains(p.seen, name) && name == "deliver":
		return p.Err("deliver stands twice: an upload is delivered once, to the next handler or to a file")
	case slices.Contains(p.seen, name) && !slices.Contains(repeatable, name):
		return p.Errf("%s stands twice", name)
	}
	p.seen = append(p.seen, name)
	return parse(p)
}

// finish puts the store together, of which several options speak.
func (p *parser) finish() error {
	file := p.file
	switch named := p.store.(type) {
	case nil:
		if file == (FileStore{}) {
			return nil // all is default
		}
	case *FileStore:
		file.Path = named.Path
	default:
		if file != (FileStore{}) {
			return p.Errf("expire, sync and reserve are options of the store file, but the store is %s", named.CaddyModule().ID.Name())
		}
		p.h.StoreRaw = caddyconfig.JSONModuleObject(named, "store", named.CaddyModule().ID.Name(), nil)
		return nil
	}
	p.h.StoreRaw = caddyconfig.JSONModuleObject(&file, "store", "file", nil)
	return nil
}

func (p *parser) parseStore() error {
	if !p.NextArg() {
		return p.Err("store needs the name of a store, such as: store file /srv/uploads")
	}
	id := "http.ws_ingest.stores." + p.Val()
	if _, err := caddy.GetModule(id); err != nil {
		return p.Errf("this Caddy has no store %q: file is built in, s3 comes with a build that has --with github.com/wsingest/wsingest/caddymodule/s3", p.Val())
	}
	module, err := caddyfile.UnmarshalModule(p.Dispenser, id)
	if err != nil {
		return err
	}
	store, ok := module.(StoreModule)
	if !ok {
		return p.Errf("%T is no store", module)
	}
	p.store = store
	return nil
}

// UnmarshalCaddyfile reads `file [<directory>]`.
func (s *FileStore) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the name
	d.Args(&s.Path)
	if d.NextArg() {
		return d.Errf("the store file takes one directory, and %q is another", d.Val())
	}
	if d.NextBlock(d.Nesting()) {
		return d.Err("the store file has no block: expire, sync and reserve stand in that of ws_ingest")
	}
	return nil
}

func (p *parser) parseExpire() error {
	s := ""
	if err := p.text(&s); err != nil {
		return err
	}
	if s == "never" {
		p.file.Expire = caddy.Duration(filestore.Never)
		return nil
	}
	return p.parseDuration(s, &p.file.Expire)
}

func (p *parser) parseSync() error {
	if err := p.oneSize(&p.file.SyncBytes); err != nil {
		return err
	}
	if p.CountRemainingArgs() > 0 {
		if err := p.duration(&p.file.SyncInterval); err != nil {
			return err
		}
	}
	return p.end()
}

func (p *parser) parseDeliver() error {
	d := new(Deliver)
	p.h.Deliver = d
	to := ""
	p.Args(&to)
	switch to {
	case "next":
		if p.NextArg() {
			d.Method = strings.ToUpper(p.Val())
		}
	case "file":
		if !p.NextArg() {
			return p.Err("deliver file needs a path, such as: deliver file /srv/files/{ws_ingest.name}")
		}
		d.File = p.Val()
	default:
		return p.Errf("deliver %q, expected next or file", to)
	}
	if p.NextArg() {
		return p.Errf("deliver %s has an argument too many: %q", to, p.Val())
	}
	for nesting := p.Nesting(); p.NextBlock(nesting); {
		if err := p.deliverOption(d, to); err != nil {
			return err
		}
	}
	return nil
}

func (p *parser) deliverOption(d *Deliver, to string) error {
	p.name = p.Val()
	switch name := p.name; {
	case slices.Contains(fileOptions, name) && to == "file":
		return p.fileOption(d)
	case slices.Contains(fileOptions, name):
		return p.Errf("%s is for deliver file: there are no files here", name)
	case name == "retry_for":
		if err := p.duration(&d.RetryFor); err != nil {
			return err
		}
		return p.end()
	case name == "redeliver_for":
		return p.parseRedeliverFor(d)
	case name == "keep_headers":
		return p.names(&d.KeepHeaders)
	case name == "keep_query":
		return p.names(&d.KeepQuery)
	default:
		return p.Errf("unknown option %q of deliver, known are %s", name, strings.Join(deliverOptions, ", "))
	}
}

// deliverOptions are the options of deliver, in the order of the documentation.
var deliverOptions = append(slices.Clone(fileOptions), "retry_for", "redeliver_for", "keep_headers", "keep_query")

func (p *parser) parseRedeliverFor(d *Deliver) error {
	s := ""
	if err := p.text(&s); err != nil {
		return err
	}
	if s == "never" {
		d.RedeliverFor = -1
		return nil
	}
	return p.parseDuration(s, &d.RedeliverFor)
}

// names reads one argument or more.
func (p *parser) names(to *[]string) error {
	names := p.RemainingArgs()
	if len(names) == 0 {
		return p.Errf("%s needs a name", p.name)
	}
	*to = append(*to, names...)
	return nil
}

func (p *parser) parseOnComplete() error {
	args := p.RemainingArgs()
	if len(args) < 2 || len(args) > 3 || args[0] != "webhook" {
		return p.Errf("on_complete %s, expected: on_complete webhook <url> [<secret>]", strings.Join(args, " "))
	}
	p.h.Webhook = args[1]
	if len(args) == 3 {
		p.h.WebhookSecret = args[2]
	}
	return nil
}

func (p *parser) parseTicketKey() error {
	keys := p.RemainingArgs()
	if len(keys) < 1 || len(keys) > 2 { // the error must not tell them
		return p.Errf("ticket_key has %d keys, expected one, or the new and the old one, such as: ticket_key {env.UPLOAD_KEY}", len(keys))
	}
	p.h.TicketKeys = keys
	return nil
}

func (p *parser) parseAcceptTypes() error {
	types := p.RemainingArgs()
	if len(types) == 0 {
		return p.Err("accept_types needs a media type, such as image/* or application/pdf")
	}
	p.h.AcceptTypes = append(p.h.AcceptTypes, types...)
	return nil
}

func (p *parser) parseAllowOrigin() error {
	hosts := p.RemainingArgs()
	if len(hosts) == 0 {
		return p.Err("allow_origin needs a host, such as app.example.com")
	}
	p.h.AllowOrigins = append(p.h.AllowOrigins, hosts...)
	return nil
}

func (p *parser) parseKeepalive() error {
	p.h.Keepalive = new(Keepalive)
	if err := p.duration(&p.h.Keepalive.Interval); err != nil {
		return err
	}
	if p.CountRemainingArgs() > 0 {
		if err := p.duration(&p.h.Keepalive.Timeout); err != nil {
			return err
		}
	}
	return p.end()
}

// text reads the one argument of an option.
func (p *parser) text(to *string) error {
	if !p.NextArg() {
		return p.Errf("%s needs a value", p.name)
	}
	*to = p.Val()
	return p.end()
}

// size reads the one argument of an option, a size.
func (p *parser) size(to *int64) error {
	if err := p.oneSize(to); err != nil {
		return err
	}
	return p.end()
}

// oneSize reads the next argument, a size.
func (p *parser) oneSize(to *int64) error {
	if !p.NextArg() {
		return p.Errf("%s needs a size, such as 50GiB", p.name)
	}
	n, err := humanize.ParseBytes(p.Val())
	if err != nil || n == 0 || n > math.MaxInt64 {
		return p.Errf("%s %s, expected a size of at least one byte, such as 64MiB, 50GB or 1000", p.name, p.Val())
	}
	*to = int64(n)
	return nil
}

// duration reads the next argument, a duration.
func (p *parser) duration(to *caddy.Duration) error {
	if !p.NextArg() {
		return p.Errf("%s needs a duration, such as 15s or 2d", p.name)
	}
	return p.parseDuration(p.Val(), to)
}

func (p *parser) parseDuration(s string, to *caddy.Duration) error {
	d, err := caddy.ParseDuration(s)
	if err != nil {
		return p.Errf("%s %s, expected a duration, such as 15s or 2d", p.name, s)
	}
	if d <= 0 {
		return p.Errf("%s %s, expected a duration longer than nothing", p.name, s)
	}
	*to = caddy.Duration(d)
	return nil
}

// end refuses what stands behind the arguments of an option.
func (p *parser) end() error {
	if p.NextArg() {
		return p.Errf("%q is an argument too many", p.Val())
	}
	return nil
}
