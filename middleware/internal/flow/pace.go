package flow

import (
	"container/list"
	"sync"
	"time"
)

// Bounds of the ping interval, and how it moves.
const (
	// maxPing stays below the 30 s after which NATs of phone networks forget
	// a silent connection, and far below the 60 s of nginx and most load
	// balancers.
	maxPing = 25 * time.Second
	// startPing is the interval towards a host nothing is known of.
	startPing = 15 * time.Second
	// minPing keeps an idle connection from becoming chatter.
	minPing = 5 * time.Second
	// growPing is added for each silence of a whole interval that the line
	// survived.
	growPing = time.Second
	// firstTrust is the number of silences at its ceiling after which a host
	// may try a longer interval again: a drop may have had another reason
	// than the silence, or the host may have moved to another network. It
	// doubles with each drop, up to maxTrust, so that a line that really
	// forgets is not tried for ever.
	firstTrust, maxTrust = 16, 1024
	// maxHosts bounds the memory: about 150 bytes each.
	maxHosts = 1024
)

// A Pace knows how long a line to a host may be silent before it must be
// pinged. A drop ends the connection it happens on, so what it teaches is kept
// by remote host, for the next one: of the hosts that taught something, the
// 1024 latest.
//
// All methods may be called at any time from any goroutine.
type Pace struct {
	start, max, min time.Duration

	mu    sync.Mutex
	hosts map[string]*list.Element // of *host
	order *list.List               // latest first
}

// A host is what is known of the lines to one remote host.
type host struct {
	name     string
	interval time.Duration
	ceiling  time.Duration // no interval above it
	streak   int           // silences survived at the ceiling
	trust    int           // streak after which the ceiling is raised
}

// NewPace returns a Pace for servers that drop a connection after deadline
// without any byte (60 s is usual). The interval starts at a third of it and
// at most 15 s, and stays within 5 s and 25 s, and so that two pings and their
// answers fit into the deadline: at most 5/12 of it.
func NewPace(deadline time.Duration) *Pace {
	p := &Pace{
		start: min(deadline/3, startPing),
		max:   min(deadline*5/12, maxPing),
		hosts: make(map[string]*list.Element),
		order: list.New(),
	}
	p.min = min(minPing, p.start)
	return p
}

// Interval returns how long a line to the host may be silent before a ping.
func (p *Pace) Interval(remote string) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e, ok := p.hosts[remote]; ok {
		return e.Value.(*host).interval
	}
	return p.start
}

// Survived notes that a line to the host still worked after a silence of idle
// (the ping that ended it was answered). The interval grows by a second if
// that was the whole of it.
func (p *Pace) Survived(remote string, idle time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, known := p.hosts[remote]; !known && idle < p.start {
		return // not worth an entry
	}
	h := p.touch(remote)
	if idle < h.interval {
		return
	}
	if h.interval >= h.ceiling && h.ceiling < p.max {
		if h.streak++; h.streak < h.trust {
			return
		}
		h.ceiling = min(h.ceiling+h.ceiling/4, p.max)
	}
	h.streak = 0
	h.interval = min(h.interval+growPing, h.ceiling)
}

// IdleDrop notes that a connection from the host was found dead after a
// silence: a ping was not answered, or writing it failed. The interval halves,
// and does not grow again to more than three quarters of that silence for a
// good while, longer with each drop. A silence shorter than the smallest
// interval teaches nothing.
func (p *Pace) IdleDrop(remote string, silence time.Duration) {
	if silence < p.min {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	h := p.touch(remote)
	h.interval = max(min(h.interval, silence)/2, p.min)
	h.ceiling = max(min(h.ceiling, silence*3/4), h.interval)
	h.streak = 0
	h.trust = min(max(2*h.trust, firstTrust), maxTrust)
}

// touch returns what is known of a host and makes it the latest. The oldest
// goes when there are too many.
func (p *Pace) touch(remote string) *host {
	if e, ok := p.hosts[remote]; ok {
		p.order.MoveToFront(e)
		return e.Value.(*host)
	}
	if p.order.Len() >= maxHosts {
		oldest := p.order.Back()
		delete(p.hosts, oldest.Value.(*host).name)
		p.order.Remove(oldest)
	}
	h := &host{name: remote, interval: p.start, ceiling: p.max}
	p.hosts[remote] = p.order.PushFront(h)
	return h
}
