package main

import (
	"net"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// dialer is what all clients connect with. Over a shaped path it sets the
// congestion control, and the connections are looked at while they send.
var (
	dialer  net.Dialer
	sockets struct {
		mu   sync.Mutex
		open []syscall.RawConn
	}
)

// connecting is for net.Dialer.Control. The congestion control of a whole
// namespace can be set only to some that the system allows everybody; a
// socket's to any.
func (e *end) connecting(_, _ string, c syscall.RawConn) error {
	var err error
	c.Control(func(fd uintptr) {
		err = unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, e.Congestion)
	})
	sockets.mu.Lock()
	defer sockets.mu.Unlock()
	sockets.open = append(sockets.open, c)
	return err
}

// acked returns how many bytes the kernels at the other end have acknowledged
// on all connections that are open. What waits there for a lost segment before
// it counts, or it would all seem to arrive with that segment.
func acked() (bytes int64) {
	sockets.mu.Lock()
	defer sockets.mu.Unlock()
	for _, c := range sockets.open {
		c.Control(func(fd uintptr) { // an error if it was closed
			if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
				bytes += int64(info.Bytes_acked) + int64(info.Sacked)*int64(info.Snd_mss)
			}
		})
	}
	return bytes
}

// halfway watches connections to come until bytes are acknowledged. What it
// returns ends that, and says when it was, in Unix nanoseconds: 0 over
// loopback.
func halfway(bytes int64) (when func() int64) {
	if dialer.Control == nil {
		return func() int64 { return 0 }
	}
	sockets.mu.Lock()
	sockets.open = nil
	sockets.mu.Unlock()
	stop, found := make(chan bool), make(chan int64, 1)
	go func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for acked() < bytes {
			select {
			case <-tick.C:
			case <-stop:
				found <- time.Now().UnixNano()
				return
			}
		}
		found <- time.Now().UnixNano()
	}()
	return func() int64 {
		close(stop)
		return <-found
	}
}
