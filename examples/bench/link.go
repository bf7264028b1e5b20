package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// path is a way through a network. The zero value is loopback.
type path struct {
	Trip time.Duration // there and back
	Rate int64         // bit/s in each direction, of IP packets
	Loss float64       // part of the packets lost in each direction
}

func (p path) shaped() bool { return p != path{} }

func (p path) String() string {
	rate := fmt.Sprintf("%d Mbit/s", p.Rate/1e6)
	if p.Rate >= 1e9 {
		rate = fmt.Sprintf("%g Gbit/s", float64(p.Rate)/1e9)
	}
	return fmt.Sprintf("%v, %s, %g %% loss", p.Trip, rate, p.Loss*100)
}

// link is such a way between two processes, each in a network namespace of its
// own with nothing in it but a TUN device (tun.go). What their kernels send
// comes out here as IP packets, is lost, waits its turn and its delay, and goes
// into the other device: so both ends run the TCP of this machine, and know
// nothing of it. tc-netem would do the same, but few kernels of virtual
// machines have it, and TUN has nearly every one.
type link struct {
	path path
	ends [2]*end
	done sync.WaitGroup
}

// newLink makes a link whose ends use the congestion control given.
func newLink(p path, congestion string) (*link, error) {
	l := &link{path: p}
	for i := range l.ends {
		e, err := newEnd(i, congestion)
		if err != nil {
			l.close()
			return nil, err
		}
		l.ends[i] = e
	}
	return l, nil
}

// run carries packets both ways until close.
func (l *link) run() {
	for i := range l.ends {
		from, to := l.ends[i].tun, l.ends[1-i].tun
		coming := make(chan arrival, 1<<16)
		l.done.Go(func() {
			defer close(coming)
			l.path.take(from, coming, rand.New(rand.NewPCG(uint64(i), 1)))
		})
		l.done.Go(func() { deliver(coming, to) })
	}
}

func (l *link) close() {
	for _, e := range l.ends {
		if e != nil {
			e.close()
		}
	}
	l.done.Wait()
}

// arrival is a packet that is on its way.
type arrival struct {
	at     time.Time
	packet []byte
}

// leastQueue is how many bytes the bottleneck queues at least.
const leastQueue = 256 << 10

// take reads packets and decides what becomes of each. The bottleneck has a
// queue of one bandwidth-delay product; what finds it full is lost.
func (p path) take(from *os.File, coming chan<- arrival, chance *rand.Rand) {
	perByte := float64(time.Second) * 8 / float64(p.Rate)
	longest := max(p.Trip, time.Duration(leastQueue*perByte))
	buf := make([]byte, tunHeader+1<<16)
	var free time.Time // when the bottleneck has sent what it has
	for {
		n, err := from.Read(buf)
		if errors.Is(err, os.ErrClosed) {
			return
		}
		if err != nil || n < tunHeader {
			continue
		}
		now := time.Now()
		if free.Before(now) {
			free = now
		}
		if free.Sub(now) > longest {
			continue
		}
		packet := append([]byte(nil), buf[:n]...)
		free = free.Add(time.Duration(float64(wireSize(packet)) * perByte))
		for _, rest := range lose(packet, p.Loss, chance) {
			select {
			case coming <- arrival{free.Add(p.Trip / 2), rest}:
			default: // as full as a queue can be
			}
		}
	}
}

// deliver hands packets over when they are due.
func deliver(coming <-chan arrival, to *os.File) {
	for a := range coming {
		for {
			wait := time.Until(a.at)
			if wait <= 0 {
				break
			}
			// The runtime's timers are a millisecond coarse when nothing else runs.
			t := unix.NsecToTimespec(int64(wait))
			unix.Nanosleep(&t, nil)
		}
		to.Write(a.packet) // a device that is gone takes no packets: the run ends
	}
}
