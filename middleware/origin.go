package middleware

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"maps"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"time"

	"github.com/wsingest/wsingest/resume"
)

// origin is what is written down of the request an upload came with, so that
// the upload can be delivered when nobody is there but the store. FORMAT.md
// names its fields. Nothing in it lets anybody in: what a client proves who it
// is with stays out, unless the operator names it.
type origin struct {
	Finished int64               `json:"finished"` // seconds since 1970
	URL      string              `json:"url"`
	Host     string              `json:"host"`
	TLS      bool                `json:"tls,omitempty"`
	Remote   string              `json:"remote,omitempty"`
	Headers  map[string][]string `json:"headers,omitempty"`
	Handler  int                 `json:"handler,omitempty"` // which call of Wrap it came through
	Pattern  string              `json:"pattern,omitempty"` // of http.ServeMux, and what stood in it
	Values   map[string]string   `json:"values,omitempty"`
}

// keptHeaders say where a request came from, and let nobody in.
var keptHeaders = []string{
	"Accept-Language", "Forwarded", "Origin", "Traceparent", "User-Agent",
	"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Request-Id",
}

// keptQuery are the parameters of a plain client, but for its ticket.
var keptQuery = []string{"id", "name", "media-type", "length", "offset", "digest", "want-digest", "acks", "finish"}

// originOf writes down what a delivery needs of s; nil when that is more than
// is kept.
func (in *Ingest) originOf(s *session, now time.Time) []byte {
	r := s.req
	u := in.urlOf(r)
	query := u.Query()
	for name := range query {
		if !slices.Contains(keptQuery, name) && !slices.Contains(in.opts.KeepQuery, name) {
			query.Del(name)
		}
	}
	u.RawQuery, u.User = query.Encode(), nil
	o := origin{
		Finished: now.Unix(), URL: u.RequestURI(), Host: r.Host, TLS: r.TLS != nil, Remote: r.RemoteAddr,
		Headers: make(map[string][]string), Handler: s.handler, Pattern: r.Pattern, Values: pathValues(r),
	}
	for _, name := range slices.Concat(keptHeaders, in.opts.KeepHeaders) {
		if values := r.Header.Values(name); len(values) > 0 {
			o.Headers[http.CanonicalHeaderKey(name)] = values
		}
	}
	p, err := json.Marshal(o)
	if err != nil || len(p) > resume.MaxOriginSize {
		s.log.Warn("the request is too large to be written down: its upload can only be delivered while its client is there")
		return nil
	}
	return p
}

// urlOf returns where the delivery begins: where r came to Wrap, or where it
// came to the server.
func (in *Ingest) urlOf(r *http.Request) url.URL {
	p := in.opts.Replay
	switch {
	case p == nil:
	case p.URL != nil:
		return *p.URL(r)
	default:
		if first, err := url.ParseRequestURI(r.RequestURI); err == nil {
			return *first
		}
	}
	return *r.URL
}

var wildcard = regexp.MustCompile(`\{([^{}$.]+)(?:\.\.\.)?\}`)

func pathValues(r *http.Request) map[string]string {
	values := make(map[string]string)
	for _, m := range wildcard.FindAllStringSubmatch(r.Pattern, -1) {
		values[m[1]] = r.PathValue(m[1])
	}
	return values
}

var errNoOrigin = errors.New("nothing was written down of the request it came with: it waits for its client")

// parseOrigin reads what originOf wrote.
func parseOrigin(p []byte) (o origin, err error) {
	if p == nil {
		return o, errNoOrigin
	}
	return o, json.Unmarshal(p, &o)
}

// request returns one like the upgrade that the upload came with, without what
// was not written down. It looks like an upgrade still, for whoever routes it
// by that.
func (o origin) request() (*http.Request, error) {
	r, err := http.NewRequest(http.MethodGet, o.URL, http.NoBody)
	if err != nil {
		return nil, err
	}
	r.RequestURI, r.Host, r.RemoteAddr = o.URL, o.Host, o.Remote
	maps.Copy(r.Header, o.Headers)
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Upgrade", "websocket")
	if o.TLS {
		name, _, err := net.SplitHostPort(o.Host)
		if err != nil {
			name = o.Host
		}
		r.TLS = &tls.ConnectionState{HandshakeComplete: true, ServerName: name}
	}
	r.Pattern = o.Pattern
	for name, value := range o.Values {
		r.SetPathValue(name, value)
	}
	return r, nil
}
