package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"sync"

	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/resume"
	"github.com/wsingest/wsingest/resume/client"
)

// uploadPath is where all clients upload to.
const uploadPath = "/upload/"

// sendPlain is a client that knows nothing of the protocol.
func sendPlain(addr string, size int64) error {
	c, err := dialWS(addr, fmt.Sprintf(uploadPath+"?length=%d", size), "", nil)
	if err != nil {
		return err
	}
	defer c.Close()
	for sent := int64(0); sent < size; sent += chunk {
		if err := c.data(min(chunk, size-sent)); err != nil {
			return err
		}
	}
	return newUpload(c).finished()
}

// sendFull speaks the full protocol with as little work as it takes.
func sendFull(secure bool, digest string) func(addr string, size int64) error {
	return func(addr string, size int64) error {
		var security *tls.Config
		if secure {
			security = &tls.Config{InsecureSkipVerify: true}
		}
		c, err := dialWS(addr, uploadPath, protocol.Subprotocol, security)
		if err != nil {
			return err
		}
		defer c.Close()
		open := &protocol.Open{ID: string(resume.NewID()), Length: &size, Eager: true, WantDigest: digest}
		if err := c.frame(opText, protocol.Encode(open)); err != nil {
			return err
		}
		u := newUpload(c)
		for sent := int64(0); sent < size; {
			n, err := u.credit(sent, size-sent)
			if err == nil {
				err = c.data(n)
			}
			if err != nil {
				return err
			}
			sent += n
		}
		if err := c.frame(opText, protocol.Encode(&protocol.Finish{Length: &size})); err != nil {
			return err
		}
		return u.finished()
	}
}

// sendGo is the client of this project.
func sendGo(lanes int) func(addr string, size int64) error {
	return func(addr string, size int64) error {
		_, err := client.Upload(context.Background(), "ws://"+addr+uploadPath, client.FromReaderAt(file{}, size),
			client.Options{Lanes: lanes, HTTPClient: &http.Client{Transport: &http.Transport{DialContext: dialer.DialContext}}})
		return err
	}
}

// upload follows what the server says about one.
type upload struct {
	mu    sync.Mutex
	cond  sync.Cond
	edge  int64 // how far the client may send
	chunk int64 // the size of message that the server asks for
	done  bool
	err   error
}

func newUpload(c *wsClient) *upload {
	u := &upload{edge: protocol.InitialWindow, chunk: chunk}
	u.cond.L = &u.mu
	go u.follow(c)
	return u
}

func (u *upload) follow(c *wsClient) {
	for {
		p, err := c.next()
		var m protocol.Message
		if err == nil {
			m, err = protocol.DecodeServer(p)
		}
		if u.heard(m, err) {
			return
		}
	}
}

// heard takes in a message and reports whether it is the last one.
func (u *upload) heard(m protocol.Message, err error) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	defer u.cond.Broadcast()
	switch m := m.(type) {
	case *protocol.Ready:
		u.edge, u.chunk = max(u.edge, m.Cursor+m.Window), m.Chunk
	case *protocol.Ack:
		u.edge, u.chunk = max(u.edge, m.Received+m.Window), m.Chunk
	case *protocol.Done:
		u.done = true
	case *protocol.Error:
		u.err = m
	}
	if err != nil {
		u.err = err
	}
	return u.done || u.err != nil
}

// credit waits until the next message may be sent behind at, and says how large
// it is to be: a chunk, or what the server asks for if that is less. Who waits
// for more credit than that may wait for the next heartbeat, since the server
// owes no ack for less than a message.
func (u *upload) credit(at, left int64) (n int64, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for {
		n = min(chunk, left)
		if u.chunk > 0 {
			n = min(n, u.chunk)
		}
		if at+n <= u.edge || u.err != nil {
			return n, u.err
		}
		u.cond.Wait()
	}
}

func (u *upload) finished() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	for !u.done && u.err == nil {
		u.cond.Wait()
	}
	return u.err
}
