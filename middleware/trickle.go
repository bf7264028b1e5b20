package middleware

import (
	"time"

	"go.uber.org/zap"
)

// minRate is what must come in while a message is unfinished, in bytes a
// second: half of what the slowest link that is promised to survive brings when
// it becomes eight times slower. Any byte is life, but who sends one now and
// then keeps a connection, and memory, for nothing.
const minRate = 1 << 10

// step is the message under way, or its latest step of wholeStep. Bytes are
// those of the socket.
type step struct {
	since time.Duration // when it began; 0: there is none
	from  int64         // bytes that had come in then
}

// begin notes when the step began, unless it has begun already.
func (p *step) begin(now time.Duration, total int64) {
	if p.since == 0 {
		p.since, p.from = now, total
	}
}

// tooSlow reports whether the step has had its time, at least, and brought
// less than minRate.
func (p *step) tooSlow(now, atLeast time.Duration, total int64) bool {
	took := now - p.since
	return p.since != 0 && took >= atLeast && float64(total-p.from) < minRate*took.Seconds()
}

// nextStep ends the step: what comes next begins another.
func (s *session) nextStep() {
	s.mu.Lock()
	s.step = step{}
	s.mu.Unlock()
}

// endTrickle cuts off a connection whose message has trickled for twice the
// timeout. A line that was silent for nearly one, and came back, has time.
func (s *session) endTrickle() {
	s.mu.Lock()
	p, waitingForSpace := s.step, s.waitingForSpace
	s.mu.Unlock()
	if waitingForSpace {
		return
	}
	now, total := s.in.clock.now(), s.wire.total.Load()
	if !p.tooSlow(now, 2*s.in.opts.Keepalive.Timeout, total) {
		return
	}
	s.log.Info("a message trickles: cutting its connection off, its upload stays",
		zap.Int64("bytes", total-p.from), zap.Duration("time", now-p.since), zap.Int("expected bytes a second", minRate))
	defer s.cut()
	s.in.opts.Observer(Event{Kind: Died, Plain: !s.full, Cause: CauseTrickling, Duration: s.age()})
}
