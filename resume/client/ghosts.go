package client

import (
	"fmt"
	"sync"
	"time"
)

// ghosts counts the client's own connections that broke: the server may come
// late to what was sent on one, and take an open in it for a newer connection's.
// Each may be mistaken for another client once, no more: the upload is opened
// again then, and that is the end of the ghost (PROTOCOL.md, section 8).
type ghosts struct {
	mu     sync.Mutex
	n      int
	latest time.Time // when the latest connection broke
}

// ghostLife is for how long a connection that broke can be heard of: as long as
// a server waits for a sign of life, unless it is told otherwise.
const ghostLife = time.Minute

// judge takes in that a connection has ended with err, and returns what that
// means.
func (g *ghosts) judge(conn *conn, err error) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if time.Since(g.latest) > ghostLife {
		g.n = 0
	}
	switch {
	case conn.broken():
		g.n++
		g.latest = time.Now()
	case g.n > 0 && superseded(err):
		g.n--
		return fmt.Errorf("a connection of this client that broke before was heard late: %v", err)
	}
	return err
}
