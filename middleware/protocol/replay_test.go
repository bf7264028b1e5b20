package protocol_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/wsingest/wsingest/middleware"
	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/middleware/ticket"
	"github.com/wsingest/wsingest/resume"
	"github.com/wsingest/wsingest/resume/filestore"
)

// TestExchanges replays every exchange of PROTOCOL.md against a real server
// with a real store, and holds what the server says to what stands there.
func TestExchanges(t *testing.T) {
	exchanges, _ := examples(t)
	for _, x := range exchanges {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			if err := newReplay(t, x, time.Minute).run(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestExchangesNoticeLies: an exchange in which something is wrong does not
// pass.
func TestExchangesNoticeLies(t *testing.T) {
	exchanges, _ := examples(t)
	for _, lie := range []struct{ exchange, old, new string }{
		{"hello", `"body":"took 13 bytes"`, `"body":"took 14 bytes"`},
		{"hello", `"window":262144,`, ``},
		{"hello", `"offset":13,"received":13`, `"offset":14,"received":14`},
		{"resume", `"missing":[[7,13]]`, `"missing":[[6,13]]`},
		{"resume", `"crc32c":"R4ccNA=="`, `"crc32c":"R4ccNB=="`},
		{"superseded", `closed 4409`, `closed 4408`},
		{"superseded", `"resumable":true`, `"resumable":false`},
		{"refused-origin", `refused 403`, `refused 400`},
		{"pipelining", `"length":6,"digest"`, `"length":7,"digest"`},
	} {
		t.Run(lie.exchange, func(t *testing.T) {
			t.Parallel()
			for _, x := range exchanges {
				if x.name == lie.exchange {
					if err := newReplay(t, tell(t, x, lie.old, lie.new), 2*time.Second).run(); err == nil {
						t.Errorf("with %s for %s the exchange passes all the same", lie.new, lie.old)
					}
					return
				}
			}
			t.Fatalf("there is no exchange %s", lie.exchange)
		})
	}
}

// tell returns x with old replaced wherever the server speaks.
func tell(t *testing.T, x exchange, old, new string) exchange {
	t.Helper()
	told := false
	steps := append([]step(nil), x.steps...)
	for i, s := range steps {
		line := s.verb + " " + s.rest
		if s.verb != ">" && s.verb != "connect" && strings.Contains(line, old) {
			steps[i].verb, steps[i].rest, _ = strings.Cut(strings.Replace(line, old, new, 1), " ")
			told = true
		}
	}
	if !told {
		t.Fatalf("exchange %s has no %s", x.name, old)
	}
	x.steps = steps
	return x
}

// replay is an exchange on its way through a server.
type replay struct {
	exchange
	ctx       context.Context
	server    *httptest.Server
	ingest    *middleware.Ingest
	any       map[string]bool // fields whose values differ from run to run
	conns     map[string]*conn
	delivered chan resume.ID
	goOn      chan struct{} // with next=slow: closed to let the app answer
}

// conn is the client's end of a connection.
type conn struct {
	ws     *websocket.Conn
	status int               // of a refused upgrade
	early  []json.RawMessage // read while another upload's message was due
}

// newReplay starts a server for x, which has to be through within the time
// given.
func newReplay(t *testing.T, x exchange, within time.Duration) *replay {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	t.Cleanup(cancel)
	r := &replay{
		exchange:  x,
		ctx:       ctx,
		any:       map[string]bool{},
		conns:     map[string]*conn{},
		delivered: make(chan resume.ID, 10),
		goOn:      make(chan struct{}),
	}
	for f := range strings.SplitSeq(x.options["any"], ",") {
		r.any[f] = true
	}
	store, err := filestore.New(t.TempDir(), filestore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	r.ingest, err = middleware.New(store, r.settings(t))
	if err != nil {
		t.Fatal(err)
	}
	r.server = httptest.NewServer(r.ingest.Wrap(http.HandlerFunc(r.app)))
	t.Cleanup(func() {
		for _, c := range r.conns {
			if c.ws != nil {
				c.ws.CloseNow()
			}
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := r.ingest.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		r.server.Close()
	})
	return r
}

// settings are the options of the server that the exchange asks for.
func (r *replay) settings(t *testing.T) middleware.Options {
	t.Helper()
	o := middleware.Options{
		Owner:      func(req *http.Request) string { return req.Header.Get("User") },
		OnComplete: func(_ context.Context, st resume.State) { r.delivered <- st.ID },
	}
	for key, value := range r.options {
		var err error
		switch key {
		case "any", "next":
		case "max-size":
			o.MaxSize, err = strconv.ParseInt(value, 10, 64)
		case "accept":
			o.AcceptTypes = []string{value}
		case "tickets": // with the key of package ticket's test vectors
			o.Tickets, err = ticket.NewVerifier([]byte("a key that is 32 bytes or longer"))
		case "keepalive":
			o.Keepalive.Interval, err = time.ParseDuration(value)
		case "timeout":
			o.Keepalive.Timeout, err = time.ParseDuration(value)
		default:
			t.Fatalf("exchange %s has an option %q that is not known", r.name, key)
		}
		if err != nil {
			t.Fatalf("exchange %s: %s: %v", r.name, key, err)
		}
	}
	return o
}

// app is the handler behind the server.
func (r *replay) app(w http.ResponseWriter, req *http.Request) {
	n, err := io.Copy(io.Discard, req.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/plain")
	switch r.options["next"] {
	case "422":
		w.WriteHeader(http.StatusUnprocessableEntity)
		io.WriteString(w, "not a picture")
		return
	case "slow":
		<-r.goOn
	}
	w.Header().Set("Location", "/files/1")
	w.WriteHeader(http.StatusCreated)
	fmt.Fprintf(w, "took %d bytes", n)
}

func (r *replay) run() error {
	if r.options["next"] == "slow" {
		defer func() {
			select {
			case <-r.goOn:
			default:
				close(r.goOn)
			}
		}()
	}
	for _, s := range r.steps {
		if err := r.step(s); err != nil {
			return fmt.Errorf("%v: %w", s, err)
		}
	}
	return nil
}

func (r *replay) step(s step) error {
	if s.conn == "server" {
		return r.atServer(s)
	}
	if s.verb == "connect" {
		return r.connect(s)
	}
	c := r.conns[s.conn]
	switch {
	case c == nil:
		return errors.New("there is no such connection")
	case s.verb == "refused":
		if strconv.Itoa(c.status) != s.rest {
			return fmt.Errorf("the server answered %d", c.status)
		}
		return nil
	case c.ws == nil:
		return fmt.Errorf("the connection was refused with %d", c.status)
	}
	switch s.verb {
	case ">":
		if p, ok := s.binary(); ok {
			return c.ws.Write(r.ctx, websocket.MessageBinary, p)
		}
		return c.ws.Write(r.ctx, websocket.MessageText, []byte(s.rest))
	case "<":
		return r.expect(c, s)
	case "drop":
		return c.ws.CloseNow()
	case "close":
		if len(c.early) > 0 {
			return fmt.Errorf("the server said more than stands here: %s", c.early[0])
		}
		code, err := strconv.Atoi(s.rest)
		if err != nil {
			return err
		}
		return c.ws.Close(websocket.StatusCode(code), "")
	case "closed":
		return r.closed(c, s.rest)
	}
	return fmt.Errorf("%q is no word of section 22", s.verb)
}

func (r *replay) atServer(s step) error {
	if s.verb == "stops" {
		go r.ingest.Shutdown(context.WithoutCancel(r.ctx))
		return nil
	}
	id, ok := strings.CutSuffix(s.rest, " delivered")
	if s.verb != "has" || !ok {
		return fmt.Errorf("%q is nothing a server does here", s.verb+" "+s.rest)
	}
	select {
	case got := <-r.delivered:
		if string(got) != id {
			return fmt.Errorf("%s was delivered", got)
		}
		return nil
	case <-r.ctx.Done():
		return errors.New("nothing was delivered")
	}
}

// connect opens a connection: subprotocol or "plain", path, headers.
func (r *replay) connect(s step) error {
	words := strings.Fields(s.rest)
	o := &websocket.DialOptions{HTTPHeader: http.Header{}}
	if words[0] != "plain" {
		o.Subprotocols = []string{words[0]}
	}
	for _, h := range words[2:] {
		key, value, _ := strings.Cut(h, "=")
		o.HTTPHeader.Set(key, value)
	}
	ws, resp, err := websocket.Dial(r.ctx, "ws"+strings.TrimPrefix(r.server.URL, "http")+words[1], o)
	if resp == nil {
		return err
	}
	r.conns[s.conn] = &conn{ws: ws, status: resp.StatusCode}
	if err == nil {
		ws.SetReadLimit(protocol.MaxMessageSize)
		if want := strings.TrimPrefix(words[0], "plain"); ws.Subprotocol() != want {
			return fmt.Errorf("the server selected subprotocol %q", ws.Subprotocol())
		}
	}
	return nil
}
