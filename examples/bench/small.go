package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"sync"

	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/resume"
	"github.com/wsingest/wsingest/resume/client"
)

// smallSize is the size of a small file.
const smallSize = 10 << 10

// sharedOut divides n files among connections, and returns when all are done.
func sharedOut(connections int, n int64, send func(n int64) error) error {
	errs := make([]error, connections)
	var wg sync.WaitGroup
	for i := range errs {
		share := n / int64(connections)
		if int64(i) < n%int64(connections) {
			share++
		}
		wg.Go(func() { errs[i] = send(share) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// sendSmall sends small files one behind the other, without waiting for
// answers, as PROTOCOL.md has it in section 10.
func sendSmall(connections int) func(addr string, files int64) error {
	return func(addr string, files int64) error {
		return sharedOut(connections, files, func(n int64) error {
			c, err := dialWS(addr, uploadPath, protocol.Subprotocol, nil)
			if err != nil {
				return err
			}
			defer c.Close()
			f := newFlight()
			go f.follow(c, n)
			return f.send(c, n)
		})
	}
}

// flight is the small files that are on their way on a connection.
type flight struct {
	mu     sync.Mutex
	cond   sync.Cond
	begin  map[string]int64 // what had been sent on the connection before each open
	taken  int64            // of the bytes sent, what the server is known to have
	window int64
	done   int64
	err    error
}

func newFlight() *flight {
	f := &flight{begin: make(map[string]int64), window: protocol.InitialWindow}
	f.cond.L = &f.mu
	return f
}

// mostFlying bounds the files without an answer: each is three messages, and a
// server puts up with 4,096.
const mostFlying = 1000

func (f *flight) send(c *wsClient, n int64) error {
	size := int64(smallSize)
	finish := protocol.Encode(&protocol.Finish{Length: &size})
	for i := range n {
		id := string(resume.NewID())
		if err := f.wait(func() bool { return (i+1)*smallSize-f.taken <= f.window && i-f.done < mostFlying }); err != nil {
			return err
		}
		f.mu.Lock()
		f.begin[id] = i * smallSize
		f.mu.Unlock()
		// All three go out in one write, as any client would that knows the file.
		p := frameOf(nil, opText, protocol.Encode(&protocol.Open{ID: id, Length: &size, Eager: true}))
		p = frameOf(p, opBinary, payload[:smallSize])
		if err := c.put(frameOf(p, opText, finish)); err != nil {
			return err
		}
	}
	return f.wait(func() bool { return f.done == n })
}

// wait waits until ok, which may look at everything, or until an error.
func (f *flight) wait(ok func() bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for !ok() && f.err == nil {
		f.cond.Wait()
	}
	return f.err
}

func (f *flight) follow(c *wsClient, n int64) {
	for {
		p, err := c.next()
		var m protocol.Message
		if err == nil {
			m, err = protocol.DecodeServer(p)
		}
		if f.heard(m, err) || f.done == n {
			return
		}
	}
}

// heard takes in a message and reports whether it is the last one.
func (f *flight) heard(m protocol.Message, err error) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	defer f.cond.Broadcast()
	switch m := m.(type) {
	case *protocol.Ready:
		if !m.Complete {
			f.taken, f.window = max(f.taken, f.begin[m.ID]), m.Window
		}
	case *protocol.Ack:
		if m.State == "" {
			f.taken, f.window = max(f.taken, f.begin[m.ID]+m.Received), m.Window
		}
	case *protocol.Done:
		delete(f.begin, m.ID)
		f.done++
	case *protocol.Error:
		err = m
	}
	if err != nil {
		f.err = err
	}
	return f.err != nil
}

// sendSmallGo is this project's client with as many files at a time as it lets
// be on their way.
func sendSmallGo(addr string, files int64) error {
	c, err := client.New("ws://"+addr+uploadPath, client.Options{})
	if err != nil {
		return err
	}
	defer c.Close()
	return sharedOut(client.DefaultInFlight, files, func(n int64) error {
		for range n {
			if _, err := c.Upload(context.Background(), client.FromReaderAt(file{}, smallSize)); err != nil {
				return err
			}
		}
		return nil
	})
}

// sendSmallTus sends small files to tusd: each a POST that creates it and a
// PATCH, which is what its clients do unless told otherwise, or all of it in
// the POST (creation-with-upload).
func sendSmallTus(connections int, inPost bool) func(addr string, files int64) error {
	header := fmt.Sprintf("Tus-Resumable: 1.0.0\r\nUpload-Length: %d\r\n", smallSize)
	const body = "Content-Type: application/offset+octet-stream\r\n"
	return func(addr string, files int64) error {
		return sharedOut(connections, files, func(n int64) error {
			c, err := dialHTTP(addr)
			if err != nil {
				return err
			}
			defer c.Close()
			for range n {
				if inPost {
					_, err = c.request("POST", "/files/", header+body, smallSize)
				} else {
					err = c.postAndPatch(header, body)
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
	}
}

func (c *httpClient) postAndPatch(header, body string) error {
	resp, err := c.request("POST", "/files/", header, 0)
	if err != nil {
		return err
	}
	at, err := url.Parse(resp.Header.Get("Location"))
	if err != nil {
		return err
	}
	_, err = c.request("PATCH", at.Path, "Tus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\n"+body, smallSize)
	return err
}
