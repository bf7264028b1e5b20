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
		for sent := int64(0); sent < size; sent += chunk {
			n := min(chunk, size-sent)
			if err := u.credit(sent + n); err != nil {
				return err
			}
			if err := c.data(n); err != nil {
				return err
			}
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
	mu   sync.Mutex
	cond sync.Cond
	edge int64 // how far the client may send
	done bool
	err  error
}

func newUpload(c *wsClient) *upload {
	u := &upload{edge: protocol.InitialWindow}
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
		u.edge = max(u.edge, m.Cursor+m.Window)
	case *protocol.Ack:
		u.edge = max(u.edge, m.Received+m.Window)
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

// credit waits until bytes up to edge may be sent.
func (u *upload) credit(edge int64) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	for u.edge < edge && u.err == nil {
		u.cond.Wait()
	}
	return u.err
}

func (u *upload) finished() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	for !u.done && u.err == nil {
		u.cond.Wait()
	}
	return u.err
}
