package middleware

import (
	"sync"
	"time"

	"github.com/wsingest/wsingest/middleware/internal/bandwidth"
)

// bandwidthLimit divides the bytes a second that may come in among sessions. A
// full client is held to its part by its credit: what was not granted is not
// sent, and so nothing is read to be thrown away. A plain client is held to it
// by reading its socket no faster.
type bandwidthLimit struct {
	clock clock

	mu      sync.Mutex
	divider *bandwidth.Divider
	timer   *time.Timer
	due     time.Duration // when it fires; 0: it does not
}

const (
	// minBandwidth is the least that makes sense as a limit: a link that slow is
	// promised to survive.
	minBandwidth = 16 << 10
	// minServe is the least time between two servings of those that wait.
	minServe = 5 * time.Millisecond
	// plainStep is how much a plain client's reader asks for.
	plainStep = 256 << 10
)

// newBandwidthLimit returns nil where there is none.
func newBandwidthLimit(o Bandwidth, c clock) *bandwidthLimit {
	if o == (Bandwidth{}) {
		return nil
	}
	l := &bandwidthLimit{clock: c, divider: bandwidth.New(bandwidth.Limits(o))}
	l.timer = time.AfterFunc(time.Hour, l.serve)
	l.timer.Stop()
	return l
}

// serve gives those that wait what has come together. It runs on the timer's
// goroutine.
func (l *bandwidthLimit) serve() {
	l.mu.Lock()
	l.due = 0
	gifts := l.serveNow()
	l.mu.Unlock()
	for _, g := range gifts {
		g.Tell() // takes the session's lock: not under ours
	}
}

// serveNow returns what is to be told, and has the timer set for the next time.
// l.mu is held.
func (l *bandwidthLimit) serveNow() []bandwidth.Gift {
	now := l.clock.now()
	gifts, again, ok := l.divider.Serve(now)
	if ok {
		l.wakeAt(now + max(again, minServe))
	}
	return append([]bandwidth.Gift(nil), gifts...)
}

func (l *bandwidthLimit) wakeAt(at time.Duration) {
	if l.due == 0 || at < l.due {
		l.due = at
		l.timer.Reset(at - l.clock.now())
	}
}

func (l *bandwidthLimit) join(owner string, tell func(int64)) *bandwidth.Share {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.divider.Join(l.clock.now(), owner, tell)
}

// ask returns how many of n bytes may come now. The others are told of when
// they may. A session's lock may be held.
func (l *bandwidthLimit) ask(s *bandwidth.Share, n int64) (got int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.clock.now()
	if got = s.Ask(now, n); got < n {
		l.wakeAt(now + minServe)
	}
	return got
}

// do has f change something at the present time.
func (l *bandwidthLimit) do(f func(now time.Duration)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f(l.clock.now())
}

// joinBandwidth has the session take part in the limits there are.
func (s *session) joinBandwidth() {
	if l := s.in.bandwidth; l != nil {
		s.afforded = make(chan struct{}, 1)
		s.share = l.join(s.owner, s.affords)
	}
}

// leaveBandwidth gives back what was not used, or owes what came unasked.
func (s *session) leaveBandwidth() {
	if s.share == nil {
		return
	}
	s.mu.Lock()
	unused := s.paid - s.arrived
	s.mu.Unlock()
	s.in.bandwidth.do(func(now time.Duration) { s.share.Leave(now, unused) })
}

// affords is told of n bytes that were waited for.
func (s *session) affords(n int64) {
	s.mu.Lock()
	s.paid += n
	s.forceAck = true
	s.mu.Unlock()
	if s.full {
		s.out.poke()
		return
	}
	select {
	case s.afforded <- struct{}{}:
	default:
	}
}

// affordable returns the part of a window of at most most bytes that the limits
// allow. s.mu is held.
func (s *session) affordable(most int64) int64 {
	if s.share == nil || !s.full {
		return most
	}
	s.flow.SetMax(most)
	if unasked := s.arrived - s.paid; unasked > 0 { // of an eager client
		s.paid = s.arrived
		s.in.bandwidth.do(func(now time.Duration) { s.share.Spend(now, unasked) })
	}
	wants := s.stored + s.flow.Window() - s.paid
	s.short = false
	if wants > 0 && s.up != nil {
		got := s.in.bandwidth.ask(s.share, wants)
		s.paid += got
		s.short = got < wants
	}
	return min(most, s.paid-s.stored)
}

// paced reports whether the reader itself keeps the limits.
func (s *session) paced() bool { return s.share != nil && !s.full }

// pace returns how many of most bytes the reader of a plain connection may read
// now. It waits until that is some; pings wait with the data they stand behind
// for no longer than the data needs at the rate it may have.
func (s *session) pace(most int64) int64 {
	if !s.paced() {
		return most
	}
	for {
		s.mu.Lock()
		left := s.paid - s.arrived
		if left <= 0 {
			left = s.in.bandwidth.ask(s.share, plainStep)
			s.paid += left
		}
		s.mu.Unlock()
		if left > 0 {
			return min(most, left)
		}
		select {
		case <-s.afforded:
		case <-s.stop:
			return most
		}
		s.nextStep() // the wait was not the client's
	}
}

// belong has the session's bytes count as those of the owner of its upload. s.mu
// is held.
func (s *session) belong(owner string) {
	if s.share != nil {
		s.in.bandwidth.do(func(now time.Duration) { s.share.Belong(now, owner) })
	}
}
