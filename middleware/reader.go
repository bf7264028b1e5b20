package middleware

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/coder/websocket"

	"github.com/wsingest/wsingest/middleware/protocol"
)

// inflow is what the reader keeps between messages. Nobody else touches it.
type inflow struct {
	fill     []*block      // hold what is not passed on yet; only the first may hold whole messages. Empty while the reader waits for memory
	class    int           // of the next block
	pos      int64         // position in the file of the next byte, for alignment
	arrived  int64         // bytes of file data in all
	breathed time.Duration // when the reader paused last
	atBreath int64         // arrived then
	opened   bool          // an open came in: file data makes sense
	eager    bool          // and it said that data follows at once
	refused  bool          // what came was a mistake that ends the connection: what follows is dropped
	probe    [1]byte
	scratch  []byte
}

const (
	// wholeStep is how much of one message may be lost with it. A message cut
	// short by the end of the connection is forgotten, since a proxy that gives
	// up may write foreign bytes into it (Caddy's reverse_proxy was seen to
	// write its close frame into the middle of a data frame). Of larger
	// messages, whole steps count.
	wholeStep = 1 << 20
	// heldBack is how much of a message may be lost with it where memory is
	// short: its last bytes, and more than a control frame, the most that was
	// seen to be written in between.
	heldBack = 4 << 10
	// maxWaiting bounds the messages a client may send without waiting for
	// answers.
	maxWaiting = 4096
)

// read reads until the connection ends, and returns why it did.
func (s *session) read() error {
	for {
		// A context that can be cancelled would cost an AfterFunc for each frame:
		// the session is ended by closing the connection instead.
		typ, r, err := s.ws.Reader(context.Background())
		switch {
		case err != nil:
			return err
		case s.over.Load() || s.rd.refused:
			err = s.discard(r)
		case typ == websocket.MessageText:
			err = s.readMessage(r)
		default:
			err = s.readData(r)
		}
		if err != nil {
			return err
		}
	}
}

// refuse has the worker tell the client its mistake, once everything before it
// is stored. The reader takes in no more: that may be a while.
func (s *session) refuse(code protocol.Code, format string, args ...any) {
	s.rd.refused = true
	s.queue.push(item{order: orderFail, err: &protocol.Error{Code: code, Detail: fmt.Sprintf(format, args...)}})
}

// readMessage takes in a control message.
func (s *session) readMessage(r io.Reader) error {
	p, err := io.ReadAll(io.LimitReader(r, protocol.MaxClientMessageSize+1))
	if err != nil {
		return err
	}
	if len(p) > protocol.MaxClientMessageSize {
		s.refuse(protocol.BadMessage, "The text message is larger than %d bytes. File data goes into binary messages.", protocol.MaxClientMessageSize)
		return s.discard(r)
	}
	m, err := protocol.DecodeClient(p)
	if err != nil {
		s.refuse(protocol.BadMessage, "%s.", upperFirst(err.Error()))
		return nil
	}
	if s.queue.waiting() > maxWaiting {
		s.refuse(protocol.BadMessage, "More than %d messages were sent without waiting for their answers.", maxWaiting)
		return nil
	}
	if open, ok := m.(*protocol.Open); ok {
		s.rd.opened, s.rd.eager = true, open.Eager
		s.rd.pos = open.Start()
		s.cursor.Store(-1)
	}
	s.queue.push(item{msg: m})
	return nil
}

// readData takes in a binary message. It waits for memory alone: when a client
// runs further ahead than it may, or cannot be told how far, or when the budget
// has nothing left.
func (s *session) readData(r io.Reader) error {
	if !s.rd.opened {
		s.refuse(protocol.BadMessage, "File data came before any open: say which upload it belongs to first.")
		return s.discard(r)
	}
	for step := int64(0); ; {
		s.breathe()
		n, err := s.readSome(r, s.pace(wholeStep-step))
		step += int64(n)
		if s.over.Load() {
			return s.discard(r)
		}
		if s.full && s.rd.arrived > s.edge.Load() {
			s.dropUnfinished() // before the worker hears that it is over
			s.refuse(protocol.BadMessage, "%d bytes of file data came on this connection, but only %d were granted (window): wait for acks.",
				s.rd.arrived, s.edge.Load())
			return s.discard(r)
		}
		switch {
		case errors.Is(err, io.EOF):
			s.passOn()
			s.nextStep()
			return nil
		case err != nil:
			return err
		case step == wholeStep:
			step = 0
			s.passOn()
			s.nextStep()
		}
	}
}

// readSome reads up to most bytes into the block at hand, or into a new one
// when that is full.
func (s *session) readSome(r io.Reader, most int64) (n int, err error) {
	var b *block
	if k := len(s.rd.fill); k > 0 {
		b = s.rd.fill[k-1]
	}
	if b == nil || b.n == len(b.buf) {
		// Ask for one byte before taking a block: most often a full block is the
		// end of the message, and a header that nothing follows costs nothing.
		if n, err = r.Read(s.rd.probe[:]); n == 0 {
			return 0, err
		}
		if b = s.nextBlock(); b == nil {
			return 0, nil // over: the caller drops the rest
		}
		b.buf[b.n] = s.rd.probe[0]
		b.took(1)
	} else {
		n, err = r.Read(b.buf[b.n:min(int64(len(b.buf)), int64(b.n)+most)])
		b.took(n)
	}
	s.arrive(n)
	return n, err
}

func (s *session) arrive(n int) {
	if n == 0 {
		return
	}
	s.rd.pos += int64(n)
	s.rd.arrived += int64(n)
	now := s.in.clock.now()
	s.mu.Lock()
	s.arrived += int64(n)
	s.active, s.resting = now, false
	s.step.begin(now, s.wire.total.Load())
	s.flow.Arrived(now, int64(n))
	s.mu.Unlock()
}

// nextBlock returns the block that the next byte goes into: at the beginning of
// a message the last one the worker has not come to, if it has room, so that
// small messages are gathered into large writes while the store is busy; else a
// new one. nil when the session is over. A reader that paces itself leaves the
// last one alone: while it waits, what came before is to be stored.
func (s *session) nextBlock() *block {
	if len(s.rd.fill) == 0 && !s.paced() {
		if b := s.queue.reclaim(); b != nil {
			s.rd.fill = append(s.rd.fill, b)
			return b
		}
	}
	return s.newBlock()
}

// newBlock takes a block out of the allotment; nil when the session is over.
func (s *session) newBlock() *block {
	early := false
	if at := s.cursor.Load(); at >= 0 {
		s.rd.pos = at
		s.cursor.Store(-1)
		s.rd.eager = true // from here on data is expected
	} else {
		early = !s.rd.eager
	}
	b := s.allotment.tryBlock(s.rd.class, s.rd.pos)
	if b == nil {
		b = s.waitBlock()
	}
	if b != nil {
		b.early = b.early || early
		s.rd.fill = append(s.rd.fill, b)
	}
	return b
}

// waitBlock waits for memory. Blocks of an unfinished message would be given
// back only once the rest of it has come, for which others, which wait as well,
// may hold the memory: so it is passed on first, but for the last bytes of it.
func (s *session) waitBlock() *block {
	tail, early := s.holdBack()
	s.passOn()
	s.rd.class = 0
	b := s.allotment.waitBlock(s.stop)
	s.nextStep() // the wait was not the client's
	if b != nil {
		copy(b.buf, tail)
		b.took(len(tail))
		b.early = early
	}
	return b
}

// holdBack takes the last bytes of the unfinished message out of its blocks.
func (s *session) holdBack() (tail []byte, early bool) {
	if len(s.rd.fill) == 0 {
		return nil, false
	}
	tail = make([]byte, heldBack)
	at := heldBack
	for i := len(s.rd.fill) - 1; i >= 0 && at > 0; i-- {
		b := s.rd.fill[i]
		if n := min(at, b.n-b.safe); n > 0 {
			at -= n
			copy(tail[at:], b.cut(n))
			early = early || b.early
		}
	}
	return tail[at:], early
}

// passOn gives the worker everything read so far: it belongs to whole
// messages, or to whole steps of a large one.
func (s *session) passOn() {
	if len(s.rd.fill) > 0 {
		s.rd.class = s.nextClass()
	}
	for i, b := range s.rd.fill {
		s.rd.fill[i] = nil
		if b.n == 0 {
			s.allotment.giveBlock(b)
			continue
		}
		b.keep()
		s.queue.push(item{data: b})
	}
	s.rd.fill = s.rd.fill[:0]
}

// nextClass chooses the size of the next block: larger when what is passed on
// filled the first one, smaller when that is nearly empty, and never so large
// that three of them would be more than the allotment. A message should fit into
// one: what comes into two blocks is two reads and two writes.
func (s *session) nextClass() int {
	b := s.rd.fill[0]
	class := b.class
	switch {
	case b.n == len(b.buf) && class < len(blockSizes)-1 && int64(blockSizes[class+1])*3 <= s.allotment.limit(!s.full):
		class++
	case b.n < blockSizes[class]/8 && class > 0:
		class--
	}
	return class
}

// dropUnfinished forgets the message that was not read to its end; whole ones
// in the same block go on to the worker.
func (s *session) dropUnfinished() {
	for _, b := range s.rd.fill {
		b.drop()
		if b.n == 0 {
			s.allotment.giveBlock(b)
			continue
		}
		s.queue.push(item{data: b})
	}
	s.rd.fill = nil
}

// discard reads the rest of a message to nowhere.
func (s *session) discard(r io.Reader) error {
	if s.rd.scratch == nil {
		s.rd.scratch = make([]byte, 16<<10)
	}
	for {
		if _, err := r.Read(s.rd.scratch); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}
