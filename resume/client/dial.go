package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"time"

	"github.com/coder/websocket"

	"github.com/wsingest/wsingest/middleware/protocol"
)

// dialTimeout bounds a handshake from the name look-up to the 101.
const dialTimeout = 30 * time.Second

// dialer opens connections to one URL.
type dialer struct {
	url    string
	place  string // url without credentials
	header http.Header
	http   *http.Client
}

func newDialer(rawURL string, o *Options) (*dialer, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, fmt.Errorf("client: URL: %w", err)
	}
	switch u.Scheme {
	case "ws", "wss", "http", "https":
	default:
		return nil, fmt.Errorf("client: URL %q, expected one that begins with ws://, wss://, http:// or https://", rawURL)
	}
	if u.Host == "" {
		return nil, fmt.Errorf("client: URL %q names no host", rawURL)
	}
	bare := *u
	bare.User = nil
	d := &dialer{url: rawURL, place: bare.String(), header: o.Header.Clone(), http: o.HTTPClient}
	if d.header == nil {
		d.header = http.Header{}
	}
	if d.http == nil {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.DisableKeepAlives = true // a refusal must not leave an idle connection behind
		t.TLSClientConfig = o.TLSConfig.Clone()
		d.http = &http.Client{Transport: t}
	}
	return d, nil
}

// corking puts a cork between the WebSocket library and a connection that was
// upgraded, and takes note of the socket underneath.
type corking struct {
	base http.RoundTripper
	cork *cork
	raw  net.Conn
}

func (c *corking) RoundTrip(r *http.Request) (*http.Response, error) {
	trace := &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { c.raw = rawConn(i.Conn) }}
	resp, err := c.base.RoundTrip(r.WithContext(httptrace.WithClientTrace(r.Context(), trace)))
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		return resp, err
	}
	rwc, ok := resp.Body.(io.ReadWriteCloser)
	if !ok {
		resp.Body.Close()
		return nil, fmt.Errorf("the body of a 101 is %T, which cannot be written to: the HTTP client's Transport must be like that of net/http", resp.Body)
	}
	c.cork = newCork(rwc)
	resp.Body = c.cork
	return resp, nil
}

// rawConn returns the socket below TLS: closing that never waits.
func rawConn(c net.Conn) net.Conn {
	for {
		t, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			return c
		}
		c = t.NetConn()
	}
}

// dial opens one connection. ctx bounds the handshake only.
func (d *dialer) dial(ctx context.Context) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	corking := &corking{base: d.http.Transport}
	if corking.base == nil {
		corking.base = http.DefaultTransport
	}
	hc := *d.http
	hc.Transport = corking
	c := &conn{wake: make(chan struct{}, 1), dead: make(chan struct{}), gone: make(chan struct{})}
	ws, resp, err := websocket.Dial(ctx, d.url, &websocket.DialOptions{
		HTTPClient:     &hc,
		HTTPHeader:     d.header,
		Subprotocols:   []string{protocol.Subprotocol},
		OnPingReceived: func(_ context.Context, p []byte) bool { corking.cork.pong(p); return false },
	})
	if err != nil {
		return nil, dialError(err, resp)
	}
	c.ws, c.cork, c.raw = ws, corking.cork, corking.raw
	if got := ws.Subprotocol(); got != protocol.Subprotocol {
		c.fail(ErrProtocol)
		close(c.gone)
		c.goodbye(websocket.StatusProtocolError, "expected "+protocol.Subprotocol)
		return nil, &finalError{fmt.Errorf("%w: it accepted the connection without the subprotocol", ErrProtocol)}
	}
	ws.SetReadLimit(protocol.MaxMessageSize)
	return c, nil
}

// finalError is an error that trying again does not mend.
type finalError struct{ error }

func (e *finalError) Unwrap() error { return e.error }

func isFinal(err error) bool {
	var f *finalError
	return errors.As(err, &f)
}

// dialError makes of a failed handshake what the caller can act on.
func dialError(err error, resp *http.Response) error {
	if resp != nil && resp.StatusCode != http.StatusSwitchingProtocols {
		refused := &RefusedError{Status: resp.StatusCode, RetryAfter: retryAfter(resp.Header)}
		if resp.Body != nil {
			b, _ := io.ReadAll(resp.Body) // at most 1 KiB: the library cut it
			refused.Body = string(b)
		}
		if refused.temporary() {
			return refused
		}
		return &finalError{refused}
	}
	if resp != nil {
		return &finalError{fmt.Errorf("%w: %w", ErrProtocol, err)}
	}
	var cert *tls.CertificateVerificationError
	var host x509.HostnameError
	var record tls.RecordHeaderError
	if errors.Is(err, http.ErrSchemeMismatch) {
		return &finalError{fmt.Errorf("%w (should the URL begin with ws:// or http://?)", http.ErrSchemeMismatch)}
	}
	if errors.As(err, &cert) || errors.As(err, &host) || errors.As(err, &record) {
		return &finalError{err}
	}
	if in := new(url.Error); errors.As(err, &in) {
		err = in.Err // the rest of it repeats the URL
	}
	return fmt.Errorf("cannot connect: %w", err)
}

// retryAfter reads the header of that name: seconds, or a date.
func retryAfter(h http.Header) time.Duration {
	v := h.Get("Retry-After")
	if s, err := strconv.Atoi(v); err == nil && s > 0 {
		return time.Duration(s) * time.Second
	}
	if t, err := http.ParseTime(v); err == nil {
		return max(0, time.Until(t))
	}
	return 0
}

// withConn makes a connection, runs something on it, and takes leave. prepare
// returns what handles the server's messages and what sends.
func (c *Client) withConn(ctx context.Context, r *retrier, prepare func(*conn) (func(protocol.Message), func() error)) error {
	conn, err := c.dial.dial(ctx)
	if err != nil {
		return err
	}
	r.connected = true
	// A write that does not get through must not hold up the end of ctx.
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(goodbyeTimeout, conn.cut) })
	defer stop()
	handle, run := prepare(conn)
	conn.serve(handle)
	err = c.ghosts.judge(conn, run())
	if conn.isDead() && errors.Is(conn.err, ErrProtocol) { // PROTOCOL.md, section 4.1
		conn.goodbye(websocket.StatusPolicyViolation, "")
		return err
	}
	conn.goodbye(websocket.StatusNormalClosure, "")
	return err
}
