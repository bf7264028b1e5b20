package client

import (
	"sync"

	"github.com/wsingest/wsingest/middleware/protocol"
)

// credit is how much may be sent on one connection: the bytes of all uploads
// that follow each other on it are counted together, as the server does, whose
// memory they share.
type credit struct {
	mu        sync.Mutex
	sent      int64 // file bytes sent in all
	confirmed int64 // of them the server has taken in, as far as it said
	window    int64 // how far sent may be beyond confirmed
	chunk     int64 // what the server wants a message to be
}

func newCredit() *credit {
	return &credit{window: protocol.InitialWindow, chunk: firstChunk}
}

// granted takes over what the latest ready or ack said.
func (c *credit) granted(confirmed, window, chunk int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.confirmed = max(c.confirmed, min(confirmed, c.sent))
	c.window = window
	if c.chunk = chunk; chunk <= 0 {
		c.chunk = firstChunk
	}
}

// ask returns how many of n bytes may go out in one message now. It is 0 rather
// than a splinter as long as more credit is to be expected.
func (c *credit) ask(n int64, l protocol.Limits) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	want := min(n, max(c.chunk, l.MinAppendSize), maxChunk)
	if l.MaxAppendSize > 0 {
		want = min(want, l.MaxAppendSize)
	}
	left := c.confirmed + c.window - c.sent
	switch {
	case left >= want:
		return want
	case c.confirmed == c.sent && left > 0:
		return left
	}
	return 0
}

// spend counts n bytes that are about to be sent.
func (c *credit) spend(n int) {
	c.mu.Lock()
	c.sent += int64(n)
	c.mu.Unlock()
}

func (c *credit) total() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sent
}
