package middleware

import (
	"errors"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/resume"
)

// completion is a finished upload on its way to its app.
type completion struct {
	id       resume.ID
	claim    resume.Claim // nil: was complete already
	permit   permit
	length   int64
	judged   bool
	verified atomic.Bool
}

// state says what is being done with it: protocol.Ack.State.
func (c *completion) state() string {
	switch {
	case c.claim == nil || c.verified.Load():
		return protocol.StateDelivering
	case c.claim.State().Durable.Has(resume.Range{End: c.length}):
		return protocol.StateVerifying
	}
	return protocol.StateStoring
}

// finish lets go of the upload at hand: it is verified and delivered beside
// the connection, which may go on with the next one.
func (s *session) finish(m *protocol.Finish) {
	if !s.slot() {
		return
	}
	o := resume.FinishOptions{Length: resume.UnknownLength}
	if m.Length != nil {
		o.Length = *m.Length
	}
	if d := m.Digest; d != nil {
		o.SHA256, o.CRC32C = d.SHA256, (*uint32)(d.CRC32C)
	}
	o.Origin = s.in.originOf(s, time.Now())
	s.mu.Lock()
	up := s.up
	if up == nil || up.ended.Swap(true) { // another lane was quicker
		s.mu.Unlock()
		<-s.slots
		return
	}
	s.up = nil
	c := &completion{id: up.id, claim: up.claim, length: up.received, permit: up.permit, judged: up.judged}
	s.startCompletion(c)
	s.mu.Unlock()
	go func() {
		defer func() { <-s.slots }()
		defer s.endCompletion(c)
		defer s.survive(c.id)
		s.complete(c, o)
	}()
}

// slot waits for leave to have one more upload verified or delivered. With the
// connection gone it does not wait: the upload stays, and its client asks again
// when it is back.
func (s *session) slot() bool {
	select {
	case s.slots <- struct{}{}:
		return true
	default:
	}
	select {
	case s.slots <- struct{}{}:
		return true
	case <-s.gone:
	case <-s.stop:
	case <-s.in.work.Done():
	}
	return false
}

// passiveUpload has the client wait for the answer to an upload that is
// complete already.
func (s *session) passiveUpload(up *upload, st resume.State) {
	up.ended.Store(true)
	up.claim.Close()
	s.mu.Lock()
	if s.up == up {
		s.up = nil
	}
	s.passive = true
	s.noteIdle()
	s.mu.Unlock()
	if !s.slot() {
		return
	}
	c := &completion{id: up.id, length: st.Length}
	s.mu.Lock()
	s.startCompletion(c)
	s.mu.Unlock()
	go func() {
		defer func() { <-s.slots }()
		defer s.endCompletion(c)
		defer s.survive(c.id)
		s.settle(c, st)
	}()
}

// startCompletion registers c; s.mu is held.
func (s *session) startCompletion(c *completion) {
	s.completing[c] = struct{}{}
	s.works.Add(1)
	s.noteIdle()
}

func (s *session) endCompletion(c *completion) {
	s.mu.Lock()
	delete(s.completing, c)
	s.noteIdle()
	s.mu.Unlock()
	s.works.Done()
}

// complete makes the upload durable, verifies it, and has it delivered.
func (s *session) complete(c *completion, o resume.FinishOptions) {
	began := time.Now()
	err := c.permit.demand(&o)
	var st resume.State
	if err == nil {
		st, err = c.claim.Finish(s.in.work, o)
	}
	if err != nil {
		now := c.claim.State()
		c.claim.Close()
		if errors.Is(err, resume.ErrComplete) && now.Phase != resume.Receiving {
			s.settle(c, now) // another lane was quicker
			return
		}
		s.log.Info("the upload could not be finished", zap.String("upload", string(c.id)), zap.Error(err))
		if e := s.in.refused.of(c.id, now.Owner); e != nil {
			s.answer(e)
			return
		}
		s.answer(refusal(c.id, err))
		return
	}
	// The claim is let go of behind the delivery: until then the store has what
	// it knows of the upload at hand, and need not read it again.
	defer c.claim.Close()
	s.log.Info("upload complete", zap.String("upload", string(c.id)), zap.Int64("length", st.Length), zap.Duration("took", time.Since(began)))
	s.in.opts.Observer(Event{Kind: Completed, ID: st.ID, Owner: st.Owner, State: &st, Plain: !s.full, Bytes: st.Length, Duration: time.Since(began)})
	s.settle(c, st)
}

// settle delivers a complete upload, or finds what came of it before, and
// tells the client.
func (s *session) settle(c *completion, st resume.State) {
	c.verified.Store(true)
	if m := s.in.deliver(s, st, c.judged); m != nil {
		s.answer(m)
	}
}
