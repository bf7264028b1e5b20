package middleware

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/coder/websocket"
	"go.uber.org/zap"

	"github.com/wsingest/wsingest/middleware/protocol"
)

// IsUpgrade reports whether r asks for a WebSocket (RFC 6455, section 4.1).
func IsUpgrade(r *http.Request) bool {
	return r.Method == http.MethodGet && hasToken(r.Header, "Connection", "upgrade") && hasToken(r.Header, "Upgrade", "websocket")
}

func hasToken(h http.Header, key, token string) bool {
	for _, v := range tokens(h, key) {
		if strings.EqualFold(v, token) {
			return true
		}
	}
	return false
}

func tokens(h http.Header, key string) (list []string) {
	for _, line := range h.Values(key) {
		for v := range strings.SplitSeq(line, ",") {
			if v = strings.TrimSpace(v); v != "" {
				list = append(list, v)
			}
		}
	}
	return list
}

// serve takes a request that asks for an upload connection from the upgrade to
// the end of everything the connection started.
func (in *Ingest) serve(w http.ResponseWriter, r *http.Request, next http.Handler, handler int) {
	full := hasToken(r.Header, "Sec-WebSocket-Protocol", protocol.Subprotocol)
	if offered := tokens(r.Header, "Sec-WebSocket-Protocol"); !full && len(offered) > 0 {
		in.refuse(w, r, http.StatusBadRequest, 0, fmt.Sprintf("The subprotocols offered (%s) are not known here: offer %s, or none for a plain upload.",
			strings.Join(offered, ", "), protocol.Subprotocol))
		return
	}
	if !in.originAllowed(r) {
		in.refuse(w, r, http.StatusForbidden, 0, fmt.Sprintf("Pages of the origin %q may not upload to %q: the operator can allow it (AllowedOrigins).",
			r.Header.Get("Origin"), r.Host))
		return
	}
	s := newSession(in, r, next, full)
	s.handler = handler
	if err := s.parsePlain(); err != nil {
		in.refuse(w, r, http.StatusBadRequest, 0, upperFirst(err.Error())+".")
		return
	}
	if err := in.enter(s); err != nil {
		in.refuse(w, r, refusalStatus(err), retryAfterRefusal, upperFirst(err.Error())+": try again in a few seconds.")
		return
	}
	defer in.leave(s)

	hj := &hijacker{ResponseWriter: w, clock: in.clock}
	ws, err := websocket.Accept(hj, r, &websocket.AcceptOptions{
		Subprotocols:       []string{protocol.Subprotocol},
		InsecureSkipVerify: true, // the origin is checked above
		CompressionMode:    websocket.CompressionDisabled,
		OnPingReceived: func(context.Context, []byte) bool {
			s.pinged.Store(int64(in.clock.now()))
			return true
		},
	})
	if err != nil {
		// Accept has answered already.
		in.log.Info("upgrade refused", zap.String("remote", r.RemoteAddr), zap.Error(err))
		in.opts.Observer(Event{Kind: Refused, Plain: !full})
		return
	}
	defer hj.wire.Close() // net/http does not, should a hook panic
	ws.SetReadLimit(-1)   // the session counts for itself
	s.run(ws, hj.wire)
}

// retryAfterRefusal is what a client that is refused for now is told to wait.
const retryAfterRefusal = 5 * time.Second

// refuse answers before the upgrade, as RFC 9457 has it. A browser sees nothing
// of it but that the connection failed, so only what concerns the connection
// itself is said here; all else is an error message behind the upgrade.
func (in *Ingest) refuse(w http.ResponseWriter, r *http.Request, status int, retry time.Duration, detail string) {
	in.log.Info("upgrade refused", zap.String("remote", r.RemoteAddr), zap.Int("status", status), zap.String("detail", detail))
	in.opts.Observer(Event{Kind: Refused})
	if retry > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(retry/time.Second)))
	}
	if in.opts.Refuse != nil {
		in.opts.Refuse(w, r, &UpgradeError{Status: status, Detail: detail})
		return
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]any{"title": http.StatusText(status), "status": status, "detail": detail})
}

// UpgradeError is why a request was not upgraded. A Retry-After is set on the
// response already where there is one.
type UpgradeError struct {
	Status int    // the HTTP status that says so
	Detail string // a sentence a person can act on
}

func (e *UpgradeError) Error() string { return e.Detail }

// originAllowed holds a page of another site off (RFC 6455, section 10.2).
func (in *Ingest) originAllowed(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true // no browser
	}
	u, err := url.Parse(origin)
	if err != nil {
		u = new(url.URL)
	}
	if u.Host != "" && strings.EqualFold(u.Host, r.Host) {
		return true
	}
	for _, pattern := range in.opts.AllowedOrigins {
		if pattern == "*" {
			return true
		}
		target := u.Host
		if strings.Contains(pattern, "://") {
			target = u.Scheme + "://" + u.Host
		}
		if ok, _ := path.Match(strings.ToLower(pattern), strings.ToLower(target)); ok && u.Host != "" {
			return true
		}
	}
	return false
}

// upperFirst makes a sentence's beginning of an error's.
func upperFirst(s string) string {
	first, size := utf8.DecodeRuneInString(s)
	return string(unicode.ToUpper(first)) + s[size:]
}

// hijacker puts a wire around the connection that Accept takes over. It finds
// the Hijacker behind wrapping ResponseWriters through Unwrap.
type hijacker struct {
	http.ResponseWriter
	clock clock
	wire  *wire
}

func (h *hijacker) Unwrap() http.ResponseWriter { return h.ResponseWriter }

// Hijack hands on the reader as it got it: the client's first bytes may stand
// in its buffer already.
func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	h.wire = &wire{Conn: conn, clock: h.clock}
	h.wire.guardSilence()
	if rw.Writer.Buffered() == 0 {
		rw.Writer.Reset(h.wire) // else nothing is ever held
	}
	return h.wire, rw, nil
}

// WriteHeaderNow makes gin's writer send the 101, which it would keep back.
func (h *hijacker) WriteHeaderNow() {
	for w := h.ResponseWriter; w != nil; {
		if g, ok := w.(interface{ WriteHeaderNow() }); ok {
			g.WriteHeaderNow()
			return
		}
		u, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return
		}
		w = u.Unwrap()
	}
}
