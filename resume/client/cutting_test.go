package client

import (
	"net"
)

// cuttingListener cuts connections after as many bytes as the fake says.
type cuttingListener struct {
	net.Listener
	f *fake
	n int
}

func (l *cuttingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil || l.f.cutAfter == nil {
		return c, err
	}
	l.n++
	if after := l.f.cutAfter(l.n); after > 0 {
		return &cuttingConn{Conn: c, left: after}, nil
	}
	return c, nil
}

type cuttingConn struct {
	net.Conn
	left int64
}

func (c *cuttingConn) Read(p []byte) (int, error) {
	if c.left <= 0 {
		c.Conn.Close()
		return 0, net.ErrClosed
	}
	n, err := c.Conn.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	return n, err
}
