package middleware

import "time"

const (
	// breath is how long the reader pauses, and breathEvery how often. Of the
	// lengths tried with Python's websockets, 30 ms is the shortest with which
	// every loop lived through half a second of ping timeout on a machine with
	// twice as much to do as it could.
	breath      = 30 * time.Millisecond
	breathEvery = 100 * time.Millisecond
	// breathBytes is what comes within breathEvery at least from a client that
	// needs a breath: 10 MiB/s. A slower one waits often enough by itself.
	breathBytes = 1 << 20
	// breathAfter is how long after a ping the client is given breath to read
	// the pong.
	breathAfter = 3 * time.Second
)

// breathe has the reader of a plain connection pause for a moment now and then,
// while bytes come fast and the client waits for a pong.
//
// A loop of sends that never waits starves its own event loop: where the server
// takes everything at once, no send ever has to wait, and the pong that has
// long arrived is not read before the ping timeout. A full socket makes the
// loop wait, and its event loop turn. What is sent during the pause waits in
// the socket's buffers.
func (s *session) breathe() {
	now := s.in.clock.now()
	if s.full || now-s.rd.breathed < breathEvery {
		return
	}
	pinged := s.pinged.Load()
	fast := s.rd.arrived-s.rd.atBreath >= breathBytes
	if fast && pinged != 0 && now-time.Duration(pinged) < breathAfter {
		select {
		case <-time.After(breath):
		case <-s.stop:
		}
	}
	s.rd.breathed, s.rd.atBreath = s.in.clock.now(), s.rd.arrived
}
