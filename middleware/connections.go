package middleware

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
)

// crowd counts the connections that have something in common.
type crowd struct {
	most int // 0: no bound
	by   map[string]int
}

func newCrowd(most int) crowd { return crowd{most: most, by: make(map[string]int)} }

// full reports whether there is no room for another one.
func (c *crowd) full(key string) bool { return c.most > 0 && c.by[key] >= c.most }

func (c *crowd) enter(key string) {
	if c.most > 0 {
		c.by[key]++
	}
}

func (c *crowd) leave(key string) {
	if c.by[key]--; c.by[key] <= 0 {
		delete(c.by, key)
	}
}

// enter registers a session, or says why it cannot be.
func (in *Ingest) enter(s *session) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	switch {
	case in.draining, in.retired:
		return errDraining
	case len(in.sessions) >= in.opts.MaxConnections:
		return errFull
	case in.ofAddress.full(s.address):
		return errAddress
	case in.ofOwner.full(s.owner):
		return errOwner
	}
	in.sessions[s] = struct{}{}
	in.ofAddress.enter(s.address)
	in.ofOwner.enter(s.owner)
	in.active.Add(1)
	return nil
}

func (in *Ingest) leave(s *session) {
	in.mu.Lock()
	delete(in.sessions, s)
	in.ofAddress.leave(s.address)
	in.ofOwner.leave(s.owner)
	in.mu.Unlock()
	in.active.Done()
}

// busy counts something under way that Shutdown waits for, in.active; false
// when nothing may begin any more.
func (in *Ingest) busy() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.draining || in.retired {
		return false
	}
	in.active.Add(1)
	return true
}

var (
	errDraining = errors.New("the server is reloading or stopping")
	errFull     = errors.New("the server has as many upload connections as it takes")
	errAddress  = errors.New("there are as many upload connections from your address as one may have")
	errOwner    = errors.New("you have as many upload connections as one may have")
)

// refusalStatus is the status that goes with an error of enter.
func refusalStatus(err error) int {
	if err == errAddress || err == errOwner {
		return http.StatusTooManyRequests // RFC 6585, section 4
	}
	return http.StatusServiceUnavailable
}

// limitsOwners reports whether something is counted for each owner of a
// connection.
func (o *Options) limitsOwners() bool {
	return o.MaxConnectionsPerOwner > 0 || o.Bandwidth.PerOwner > 0
}

// remoteHost is where a request comes from, without the port.
func remoteHost(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// network returns what of an address counts as one: of IPv6 the /64, which is
// what a single customer is given (RFC 6177), and has at will.
func network(address string) string {
	a, err := netip.ParseAddr(address)
	if err != nil {
		return address
	}
	if a = a.Unmap().WithZone(""); a.Is4() {
		return a.String()
	}
	p, _ := a.Prefix(64)
	return p.String()
}
