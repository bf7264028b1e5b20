package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/resume"
)

// loader is a client that does as the lines on its standard input say, and
// answers each.
type loader func(addr string, in *bufio.Scanner, out *json.Encoder) error

// loadReport is what many connections saw.
type loadReport struct {
	Bytes    []int64   // what the server took in on each, since the mark
	Received []float64 // seconds from sending a message to the ack that has taken it in
	Durable  []float64 // seconds to the ack that calls it durable
}

// holdConnections opens connections ("open N"), uploads on all of them without
// end ("send"), and says what happened ("report") since it was told to start
// counting ("mark").
func holdConnections(addr string, in *bufio.Scanner, out *json.Encoder) error {
	// A thousand stacks to look through, again and again, were a third of what
	// the client did, on the cores that it shares with the server.
	debug.SetGCPercent(1000)
	var streams []*stream
	began := make(chan error)
	for in.Scan() {
		command, count, _ := strings.Cut(in.Text(), " ")
		var answer any = "ok"
		var err error
		switch command {
		case "open":
			n, _ := strconv.Atoi(count)
			for range n - len(streams) {
				c, err := dialWS(addr, uploadPath, protocol.Subprotocol, nil)
				if err != nil {
					return err
				}
				streams = append(streams, newStream(c))
			}
		case "send":
			for _, s := range streams {
				go func() { began <- s.begin() }()
			}
			for range streams {
				err = errors.Join(err, <-began)
			}
		case "mark":
			for _, s := range streams {
				s.mark()
			}
		case "report":
			var r loadReport
			for _, s := range streams {
				err = errors.Join(err, s.report(&r))
			}
			slices.Sort(r.Received)
			slices.Sort(r.Durable)
			answer = r
		}
		if err != nil {
			return err
		}
		if err := out.Encode(answer); err != nil {
			return err
		}
	}
	return in.Err()
}

// stream is an endless upload on a connection of its own. It heeds the size of
// messages that the server asks for.
type stream struct {
	c *wsClient

	mu       sync.Mutex
	cond     sync.Cond
	ready    bool
	edge     int64 // how far it may send
	chunk    int64 // of a message
	received int64
	since    int64 // received at the mark
	timed    int64 // a position whose acks are waited for; 0: none
	sent     time.Time
	taken    bool // it was received, but is not yet durable
	latency  loadReport
	err      error
}

func newStream(c *wsClient) *stream {
	s := &stream{c: c}
	s.cond.L = &s.mu
	return s
}

// begin opens an upload of unknown length, so that none has more to do at the
// start than another, and returns when the server is ready for it.
func (s *stream) begin() error {
	go s.follow()
	if err := s.c.frame(opText, protocol.Encode(&protocol.Open{ID: string(resume.NewID())})); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.ready && s.err == nil {
		s.cond.Wait()
	}
	go s.send()
	return s.err
}

func (s *stream) send() {
	for at := int64(0); ; {
		n, err := s.room(at)
		if err == nil {
			err = s.c.data(n)
		}
		if err != nil {
			s.fail(err)
			return
		}
		at += n
	}
}

// room waits until something may be sent behind at, and says how much.
func (s *stream) room(at int64) (n int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.edge-at < min(s.chunk, chunk) && s.err == nil {
		s.cond.Wait()
	}
	n = min(s.chunk, chunk)
	if s.timed == 0 {
		s.timed, s.sent, s.taken = at+n, time.Now(), false
	}
	return n, s.err
}

func (s *stream) follow() {
	for {
		p, err := s.c.next()
		var m protocol.Message
		if err == nil {
			m, err = protocol.DecodeServer(p)
		}
		if err == nil {
			err = s.heard(m)
		}
		if err != nil {
			s.fail(err)
			return
		}
	}
}

func (s *stream) heard(m protocol.Message) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.cond.Broadcast()
	switch m := m.(type) {
	case *protocol.Ready:
		s.ready, s.edge, s.chunk = true, m.Cursor+m.Window, m.Chunk
	case *protocol.Ack:
		if m.ID == "" {
			return nil // the heartbeat of a connection without an upload
		}
		s.edge, s.chunk, s.received = max(s.edge, m.Received+m.Window), m.Chunk, m.Received
		s.time(m)
	case *protocol.Error:
		return m
	default:
		return fmt.Errorf("unexpected %T", m)
	}
	return nil
}

// time notes what an ack says of the position that is being timed.
func (s *stream) time(m *protocol.Ack) {
	if s.timed == 0 {
		return
	}
	took := time.Since(s.sent).Seconds()
	if !s.taken && m.Received >= s.timed {
		s.taken = true
		s.latency.Received = append(s.latency.Received, took)
	}
	if m.Offset >= s.timed {
		s.latency.Durable = append(s.latency.Durable, took)
		s.timed = 0
	}
}

func (s *stream) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
	}
	s.cond.Broadcast()
}

func (s *stream) mark() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.since, s.latency = s.received, loadReport{}
}

func (s *stream) report(r *loadReport) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.Bytes = append(r.Bytes, s.received-s.since)
	r.Received = append(r.Received, s.latency.Received...)
	r.Durable = append(r.Durable, s.latency.Durable...)
	return s.err
}
