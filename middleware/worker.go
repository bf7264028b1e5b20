package middleware

import (
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/resume"
)

// handle is the worker: it takes what the reader passed on, in order. It alone
// opens and writes claims.
func (s *session) handle(it item) {
	if it.data != nil {
		defer s.allotment.giveBlock(it.data)
	}
	defer s.survive(it.upload())
	if s.over.Load() {
		return
	}
	switch {
	case it.data != nil:
		s.store(it.data)
	case it.msg != nil:
		s.message(it.msg)
	case it.order == orderFail:
		if up, _ := s.current(); up != nil {
			it.err.ID = string(up.id)
			it.err.Resumable = true
		}
		s.fail(it.err)
	case it.order == orderOpenPlain:
		s.openPlain()
	case it.order == orderFinish:
		if up, _ := s.current(); up != nil {
			s.finish(&protocol.Finish{Digest: s.plain.Digest})
		}
	case it.order == orderOverdue:
		s.removeOverdue()
	case it.order == orderDrain:
		s.goAway()
	case it.order == orderEnded:
		if up, _ := s.current(); up != nil && up.claim.Err() != nil {
			s.claimEnded(up, up.claim.Err())
		}
	}
}

func (s *session) message(m protocol.Message) {
	if open, ok := m.(*protocol.Open); ok && s.full {
		s.open(open)
		return
	}
	up, passive := s.current()
	if up == nil {
		if _, ok := m.(*protocol.Cancel); ok || passive {
			return // meant for an upload that is finished, or was complete already
		}
		s.fail(&protocol.Error{Code: protocol.BadMessage, Detail: "No upload is open on this connection: open one first."})
		return
	}
	switch m := m.(type) {
	case *protocol.Check:
		s.check(up, m)
	case *protocol.Finish:
		if m.Digest == nil && s.plain != nil {
			m.Digest = s.plain.Digest
		}
		s.finish(m)
	case *protocol.Cancel:
		s.cancel(up)
	default:
		s.fail(&protocol.Error{ID: string(up.id), Code: protocol.BadMessage, Resumable: true,
			Detail: "A plain connection carries one upload, the one in its URL: open others with the subprotocol " + protocol.Subprotocol + "."})
	}
}

// store writes a block to the upload it belongs to.
func (s *session) store(b *block) {
	p := b.buf[:b.n]
	up, passive := s.current()
	switch {
	case up == nil && passive:
		// An eager client sent the bytes of an upload that is complete already.
		s.took(nil, len(p))
		return
	case up == nil:
		s.fail(&protocol.Error{Code: protocol.BadMessage, Detail: "File data came while no upload was open: behind finish, open the next one first."})
		return
	case b.early && up.start != 0:
		s.fail(&protocol.Error{ID: string(up.id), Code: protocol.BadMessage, Resumable: true,
			Detail: "File data came before ready said where to go on: wait for ready, or open with eager and send from byte 0."})
		return
	case up.maxSize > 0 && up.claim.Cursor()+int64(len(p)) > up.maxSize:
		s.fail(tooLarge(up.id, up.maxSize))
		return
	}
	if up.growing {
		if err := s.in.quota.grow(s.in.work, up, int64(len(p))); err != nil {
			s.fail(refusal(up.id, err))
			return
		}
	}
	n, err := resume.WriteSum(up.claim, p, b.crc)
	if errors.Is(err, resume.ErrNoSpace) && up.claim.Err() == nil {
		n, err = s.waitForSpace(up, p, n)
	}
	if n == len(p) {
		up.crc = resume.CombineCRC32C(up.crc, b.crc, int64(n))
	} else {
		up.crc = resume.UpdateCRC32C(up.crc, p[:n])
	}
	s.took(up, len(p))
	if err != nil {
		s.claimEnded(up, err)
		return
	}
	if !s.judge(up) {
		return
	}
	s.tellIfDue(up)
	if s.plain != nil && up.length >= 0 && up.claim.Cursor() == up.length {
		s.finish(&protocol.Finish{Digest: s.plain.Digest})
	}
}

// took counts bytes that have left the queue: the client gets credit for them.
func (s *session) took(up *upload, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stored += int64(n)
	if up != nil {
		up.received = up.claim.Cursor()
		s.timeFrom(up)
	}
}

// claimEnded tells the client why its claim takes no more bytes.
func (s *session) claimEnded(up *upload, err error) {
	if up.ended.Swap(true) {
		return
	}
	if e := s.in.refused.of(up.id, up.owner); e != nil {
		s.letGo(up)
		s.answer(e)
		return
	}
	if st := up.claim.State(); st.Phase != resume.Receiving {
		// Another lane has finished the upload: its answer is everybody's.
		s.passiveUpload(up, st)
		return
	}
	s.log.Info("the claim on the upload ended", zap.String("upload", string(up.id)), zap.Error(err))
	s.fail(refusal(up.id, err))
}

// goAway makes durable what is received, and closes for a reload or a stop.
func (s *session) goAway() {
	var bye protocol.Message
	if up, _ := s.current(); up != nil {
		if err := up.claim.Sync(s.in.work); err != nil {
			s.log.Warn("draining: what was received could not be made durable", zap.String("upload", string(up.id)), zap.Error(err))
		}
		bye = &protocol.Goaway{ID: string(up.id), Offset: up.claim.Durable(), RetryAfterMS: goawayRetry.Milliseconds()}
	} else {
		bye = &protocol.Goaway{RetryAfterMS: goawayRetry.Milliseconds()}
	}
	if !s.beats {
		bye = nil // a plain client hears ready, and done or error
	}
	s.lastWord(bye, protocol.Draining.CloseCode(), string(protocol.Draining))
}

// goawayRetry is when a client told to go away may come back.
const goawayRetry = 500 * time.Millisecond

// tellIfDue has out send an ack if one is due: most blocks make none due, and
// each poke is a goroutine.
func (s *session) tellIfDue(up *upload) {
	s.mu.Lock()
	due := s.ackDue(up)
	s.mu.Unlock()
	if due {
		s.out.poke()
	}
}

// progress returns the ack that is due, nil if none is. out calls it.
func (s *session) progress() *protocol.Ack {
	s.observeLag()
	s.mu.Lock()
	defer s.mu.Unlock()
	up := s.up
	if up == nil {
		return nil
	}
	if err := up.claim.Err(); err != nil {
		if !up.ended.Load() {
			s.queue.push(item{order: orderEnded})
		}
		return nil
	}
	if !up.answered || !s.ackDue(up) {
		return nil
	}
	return s.ack(up)
}

// ackDue: acks are cumulative, one for a good part of the window, and one when
// everything is durable that came in. What makes none due is told of later all
// the same. s.mu is held.
func (s *session) ackDue(up *upload) bool {
	if !s.beats {
		return false
	}
	durable := min(up.claim.Durable(), up.received)
	due := s.forceAck ||
		!s.short && s.flow.Due(s.stored) ||
		durable-up.ackedDurable >= s.flow.Chunk() ||
		durable > up.ackedDurable && durable == up.received
	if !due {
		s.ackLater()
	}
	return due
}

// lateAck is how long bytes that were taken in may stay untold of.
const lateAck = 200 * time.Millisecond

// ackLater has the client told within lateAck of bytes that make no ack due by
// themselves: one that waits for more credit than a chunk, which it need not,
// would wait for the next heartbeat. s.mu is held.
func (s *session) ackLater() {
	if s.late || s.stored == s.told {
		return
	}
	s.late = true
	time.AfterFunc(lateAck, func() {
		s.mu.Lock()
		s.late = false
		s.forceAck = s.forceAck || s.stored > s.told
		s.mu.Unlock()
		s.out.poke()
	})
}

// ack says where up stands, and grants the client its credit. s.mu is held.
func (s *session) ack(up *upload) *protocol.Ack {
	s.forceAck = false
	up.ackedDurable = min(up.claim.Durable(), up.received)
	a := &protocol.Ack{ID: string(up.id), Offset: up.ackedDurable, Received: up.received}
	if s.waitingForSpace {
		a.State, a.Chunk = protocol.StateWaitingForSpace, s.flow.Chunk()
		s.told = s.stored
	} else {
		a.Window, a.Chunk = s.grant()
	}
	if ce := s.log.Check(zap.DebugLevel, "ack"); ce != nil {
		ce.Write(zap.String("upload", a.ID), zap.Int64("offset", a.Offset), zap.Int64("received", a.Received), zap.Int64("window", a.Window))
	}
	return a
}

// grant returns the window and the chunk to tell the client now. What is
// granted has its memory reserved, as far as there is any, with room for blocks
// that are not full. s.mu is held.
func (s *session) grant() (window, chunk int64) {
	allotment := s.flow.Window() * 3 / 2
	if s.resting {
		allotment = min(allotment, s.in.budget.restSize())
	}
	s.flow.SetMax(s.affordable(windowIn(s.allotment.reserve(allotment))))
	window, chunk = s.flow.Grant(s.in.clock.now(), s.stored)
	s.told = s.stored
	s.edge.Store(s.flow.Edge())
	s.flow.SetMax(windowIn(s.allotment.reach())) // what the next grant may grow to
	return window, chunk
}

// windowIn returns the window that finds its place in an allotment.
func windowIn(allotment int64) int64 { return max(allotment*2/3, minWindow) }

// restIfIdle takes back the credit of a client that does not use it, for
// others who do. What it may have sent already under the old window still
// counts as granted. s.mu is held.
func (s *session) restIfIdle() {
	idle := s.in.clock.now() - s.active
	s.resting = idle >= s.in.opts.Keepalive.Interval && s.queue.waiting() == 0
}
