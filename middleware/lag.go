package middleware

import "time"

// timed is a position of an upload, and when its bytes were taken in: by it the
// time is told until such bytes are durable. There is one at a time, so that the
// clock is not read for every block.
type timed struct {
	upTo  int64 // 0: none
	since time.Duration
}

// timeFrom times what up has taken in now, if nothing is timed. s.mu is held.
func (s *session) timeFrom(up *upload) {
	if up.timed.upTo == 0 {
		up.timed = timed{up.received, s.in.clock.now()}
	}
}

// observeLag tells the observer once what is timed is durable.
func (s *session) observeLag() {
	s.mu.Lock()
	up := s.up
	if up == nil || up.timed.upTo == 0 || up.claim.Durable() < up.timed.upTo {
		s.mu.Unlock()
		return
	}
	took := s.in.clock.now() - up.timed.since
	up.timed = timed{}
	s.mu.Unlock()
	s.in.opts.Observer(Event{Kind: Durable, ID: up.id, Owner: up.owner, Plain: !s.full, Duration: took})
}
