package middleware

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/resume"
)

// spaceRetry is how often a store that is full is asked again. A variable for
// tests alone.
var spaceRetry = time.Second

// waitForSpace writes p, of which n bytes were taken, when there is room again.
// The connection lives on meanwhile: its client gets no credit and is told why,
// and what it may have sent before finds its place in the allotment. It gives up
// only when the connection ends, or has to.
func (s *session) waitForSpace(up *upload, p []byte, n int) (int, error) {
	s.log.Warn("no room for what comes in: the upload waits", zap.String("upload", string(up.id)))
	s.tellWaiting(true)
	defer s.tellWaiting(false)
	leaving := s.in.serving.Done()
	if s.full {
		leaving = s.in.current.Done()
	}
	again := time.NewTicker(spaceRetry)
	defer again.Stop()
	for {
		select {
		case <-again.C:
		case <-leaving:
			return n, context.Canceled // told as a server that stops
		case <-s.stop:
			return n, resume.ErrNoSpace
		case <-s.gone:
			up.ended.Store(true) // nobody is there to be told
			s.lastWord(nil, protocol.InsufficientSpace.CloseCode(), "")
			return n, resume.ErrNoSpace
		}
		k, err := up.claim.Write(p[n:])
		if n += k; !errors.Is(err, resume.ErrNoSpace) {
			s.log.Info("the upload that waited for room goes on", zap.String("upload", string(up.id)), zap.Error(err))
			return n, err
		}
	}
}

// tellWaiting has the client told that its upload waits for room, or that it goes on.
func (s *session) tellWaiting(waiting bool) {
	s.mu.Lock()
	s.waitingForSpace, s.forceAck = waiting, true
	s.step = step{} // what does not come while nobody reads is not the client's fault
	s.mu.Unlock()
	s.out.poke()
}
