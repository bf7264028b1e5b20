package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/wsingest/wsingest/middleware/protocol"
)

// simple is a small client that does all of the checklist, and can be made to
// break one point of it.
type simple struct {
	fault  string // the name of what it gets wrong; "": nothing
	url    string
	file   []byte
	stream bool

	id        string
	finished  bool
	impatient bool          // did send before ready
	shown     bool          // its ticket
	broke     bool          // a connection did, of which nothing was heard since
	delay     time.Duration // before the next attempt

	// Of all connections so far.
	opens, closes int   // closes: with 1008
	sent          int64 // up to where the last one did
	told          int64 // up to where anything was ever called received
}

// ended is the end of a connection, and what to do about it.
type ended struct {
	text  string
	final bool
	after time.Duration // what the server asked for
	moved bool          // the upload got further
}

func (e *ended) Error() string { return e.text }

// first is the first pause between two attempts. One that is to be seen as the same
// each time is long beside what a busy machine adds to it: to be missed, more than
// a quarter of the pauses would have to be late by 300 ms.
func (s *simple) first() time.Duration {
	if s.fault == "waits without chance" {
		return 5 * firstDelay
	}
	return firstDelay
}

// firstDelay is the first pause between two attempts. The fourth is more than twice
// as long as the shortest of those before, even if a busy machine makes each of
// them longer by 250 ms.
const firstDelay = 500 * time.Millisecond

// upload goes on until the file is there, or it cannot be.
func (s *simple) upload(ctx context.Context) *verdict {
	s.id, s.delay = s.newID(), s.first()
	for {
		err := s.connect(ctx)
		var end *ended
		switch {
		case err == nil:
			return &verdict{Success, "done"}
		case !errors.As(err, &end):
			end = &ended{text: err.Error()}
		case end.final:
			if s.fault == "says nothing of why" {
				return &verdict{Failure, "it did not work"}
			}
			return &verdict{Failure, end.text}
		}
		if s.fault == "takes the end of a connection behind finish for success" && s.finished {
			return &verdict{Success, "sent it all"}
		}
		if s.fault == "cannot send a stream again" && s.stream && end.moved {
			return &verdict{Failure, end.text}
		}
		if s.fault == "makes a new id for each connection" {
			s.id = s.newID()
		}
		select {
		case <-time.After(s.pause(end)):
		case <-ctx.Done():
			return &verdict{Failure, "out of patience: " + end.text}
		}
	}
}

func (s *simple) pause(end *ended) time.Duration {
	switch {
	case s.fault == "ignores Retry-After", s.fault == "ignores the delay of goaway" && end.after == 0:
		return firstDelay / 4 // the server asks for 900 ms and more: too early, however busy the machine
	case end.after > 0:
		return end.after + mathrand.N(end.after/10)
	case s.fault == "waits as long each time":
		return 3*firstDelay + mathrand.N(firstDelay/2) // twice that is never reached by what a machine adds
	}
	if end.moved {
		s.delay = s.first()
	}
	d := s.delay
	s.delay *= 2
	if s.fault == "waits without chance" {
		return d
	}
	return d/2 + mathrand.N(d)
}

var sameID = sync.OnceValue(func() string { return random(16) })

func random(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}

func (s *simple) newID() string {
	switch s.fault {
	case "makes short ids":
		return random(12)
	case "makes ids of little chance":
		return "upload-of-today-number-" + random(6)
	case "has one id for all files":
		return sameID()
	}
	return random(16)
}

func (s *simple) connect(ctx context.Context) error {
	offer := []string{protocol.Subprotocol}
	if s.fault == "offers no subprotocol" {
		offer = nil
	}
	c := &talk{simple: s, ctx: ctx, inbox: make(chan []byte, 1<<14), patience: 30 * time.Second}
	ws, resp, err := websocket.Dial(ctx, s.url, &websocket.DialOptions{Subprotocols: offer,
		OnPingReceived: func(context.Context, []byte) bool {
			c.confused = c.confused || c.within
			return s.fault != "answers no ping"
		}})
	if err != nil {
		end := &ended{text: err.Error(), final: s.fault == "gives up over a 503" || s.fault == "offers no subprotocol"}
		if resp != nil && resp.StatusCode == http.StatusServiceUnavailable {
			seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
			end.after = time.Duration(seconds) * time.Second
		}
		return end
	}
	defer ws.CloseNow()
	if ws.Subprotocol() != protocol.Subprotocol && s.fault != "does without the subprotocol" {
		ws.Close(websocket.StatusProtocolError, "")
		return &ended{text: "no wsingest.v1 here", final: true}
	}
	ws.SetReadLimit(protocol.MaxMessageSize)
	if s.fault == "reads short messages only" {
		ws.SetReadLimit(128 << 10)
	}
	c.ws = ws
	if s.fault != "reads only when it has nothing to send" {
		go c.read()
	}
	return c.run()
}

// message is any message of the server, as far as this client looks.
type message struct {
	Type       string             `json:"type"`
	ID         string             `json:"id"`
	Offset     *int64             `json:"offset"`
	Received   int64              `json:"received"`
	Cursor     int64              `json:"cursor"`
	Length     int64              `json:"length"`
	Window     int64              `json:"window"`
	Chunk      int64              `json:"chunk"`
	State      string             `json:"state"`
	Complete   bool               `json:"complete"`
	Have       []protocol.Have    `json:"have"`
	Limits     protocol.Limits    `json:"limits"`
	Keepalive  protocol.Keepalive `json:"keepalive"`
	Digest     *protocol.Digest   `json:"digest"`
	Code       protocol.Code      `json:"code"`
	Detail     string             `json:"detail"`
	Resumable  bool               `json:"resumable"`
	RetryAfter int64              `json:"retry-after-ms"`
	Response   *protocol.Response `json:"response"`
	Missing    []protocol.Range   `json:"missing"`
}

// known decodes p, and chokes on members it does not know.
func known(p []byte) error {
	var m map[string]json.RawMessage
	if err := json.Unmarshal(p, &m); err != nil {
		return err
	}
	for name := range m {
		if name[0] == 'x' {
			return fmt.Errorf("unknown member %s", name)
		}
	}
	return nil
}
