package middleware

import (
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/wsingest/wsingest/middleware/internal/flow"
	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/resume"
)

// upload is the one that bytes of a session go to.
type upload struct {
	id      resume.ID
	owner   string
	claim   resume.Claim
	start   int64 // where this connection began
	length  int64 // resume.UnknownLength: not known
	maxSize int64 // 0: no bound
	created time.Time
	permit  permit
	head    int64 // bytes of it that are judged here; -1: none
	judged  bool  // the worker's own
	growing bool  // draws on its owner's quota as it grows: its length is not known
	crc     uint32
	ended   atomic.Bool // the client was told why the claim ended

	// Guarded by the session's mu.
	answered     bool  // ready went out: before, an ack would be taken for one of an earlier opening
	received     int64 // taken in by the claim
	ackedDurable int64 // told the client
	timed        timed
}

// current returns the upload that bytes go to, nil if there is none; then
// passive says that the one opened last was complete already.
func (s *session) current() (up *upload, passive bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.up, s.passive
}

// endUpload lets go of the upload at hand. It stays in the store for resume.
func (s *session) endUpload() {
	s.mu.Lock()
	up := s.up
	s.up, s.passive = nil, false
	s.noteIdle()
	s.mu.Unlock()
	if up != nil {
		up.ended.Store(true)
		up.claim.Close()
	}
}

// noteIdle keeps idleSince true. s.mu is held.
func (s *session) noteIdle() {
	switch {
	case s.up != nil || len(s.completing) > 0:
		s.idleSince = 0
	case s.idleSince == 0:
		s.idleSince = s.in.clock.now()
	}
}

// openPlain opens the upload that the URL of a plain connection names.
func (s *session) openPlain() {
	p := s.plain
	if !s.open(&p.Open) {
		return
	}
	up, _ := s.current()
	if up == nil {
		return // complete already
	}
	if up.length >= 0 && up.claim.Cursor() == up.length {
		s.finish(&protocol.Finish{Digest: p.Digest})
	}
}

// placePlain moves the cursor to where a plain client says it begins.
func placePlain(p *protocol.Plain, claim resume.Claim) error {
	held := claim.Cursor()
	switch {
	case p.OffsetResume:
		return nil
	case p.Offset == nil && held == 0:
		return nil
	case p.Offset == nil:
		return &protocol.Error{Code: protocol.MismatchingOffset, Resumable: true, Offset: &held, Detail: fmt.Sprintf(
			"The upload holds %d bytes already. Say in the URL where you begin: offset=%d to go on, offset=0 to send all of it again, offset=resume to read ready first.", held, held)}
	case *p.Offset > held:
		return &protocol.Error{Code: protocol.MismatchingOffset, Resumable: true, Offset: &held, Detail: fmt.Sprintf(
			"The URL says that the data begins at byte %d, but only %d bytes are held: begin there.", *p.Offset, held)}
	}
	return claim.SetCursor(*p.Offset)
}

// open creates or resumes an upload and answers ready. It reports whether the
// upload is there.
func (s *session) open(o *protocol.Open) bool {
	s.endUpload()
	id := resume.NewID()
	if o.ID != "" {
		var err error
		if id, err = resume.ParseID(o.ID); err != nil {
			s.fail(refusal(resume.ID(truncate(o.ID, resume.MaxIDLength)), err))
			return false
		}
	}
	claim, most, err := s.claim(id, o)
	if err != nil {
		e := refusal(id, err)
		if e.Code == protocol.Internal {
			s.log.Error("opening the upload failed", zap.String("upload", string(id)), zap.Error(err))
		}
		s.fail(e)
		return false
	}
	st := claim.State()
	if st.Phase != resume.Receiving {
		s.out.send(s.ready(st, claim))
		s.passiveUpload(&upload{id: id, claim: claim}, st)
		return true
	}
	if err := s.place(o, claim); err != nil {
		claim.Close()
		s.fail(refusal(id, err))
		return false
	}
	s.begin(claim, st, most, o)
	s.judgeOpened()
	return true
}

// place moves the claim's cursor to where a client begins that does not wait
// to be told.
func (s *session) place(o *protocol.Open, claim resume.Claim) error {
	switch {
	case s.plain != nil:
		return placePlain(s.plain, claim)
	case o.Eager:
		return claim.SetCursor(o.Start())
	}
	return nil
}

// begin makes claim the upload that bytes go to, and says ready.
func (s *session) begin(claim resume.Claim, st resume.State, most bounds, o *protocol.Open) {
	up := &upload{id: st.ID, claim: claim, start: claim.Start(), length: st.Length, maxSize: most.size, created: st.Created}
	up.received, up.ackedDurable = up.start, up.start
	up.permit, up.head = s.permitted, s.headSize(st.Length, o.Range)
	up.owner, up.growing = st.Owner, st.Length == resume.UnknownLength && s.in.quota.boundsBytes()
	kind, verb, level := Opened, "upload opened", zap.InfoLevel
	again := st.Epoch > 1 && st.ID == s.known // such as a lane that goes on elsewhere: nothing of the upload's life
	switch {
	case again:
		verb, level = "upload opened again", zap.DebugLevel
	case st.Epoch > 1:
		kind, verb = Resumed, "upload resumed"
	}
	s.known = st.ID
	s.log.Log(level, verb, zap.String("upload", string(st.ID)), zap.String("owner", st.Owner), zap.String("name", st.Name),
		zap.Int64("length", st.Length), zap.Int64("offset", up.start), zap.Uint64("epoch", st.Epoch))

	s.mu.Lock()
	s.up = up // from here on hungUp closes its claim, whatever hooks do
	s.noteIdle()
	s.setPingTimeout(o.PingTimeoutMS, o.Eager)
	s.belong(st.Owner)
	s.allotment.reserve(s.in.budget.restSize())
	ready := s.ready(st, claim)
	ready.Limits.MaxSize = most.told()
	s.tellLimits(&ready.Limits, up)
	ready.Window, ready.Chunk = s.grant()
	s.mu.Unlock()
	if !again {
		s.in.opts.Observer(Event{Kind: kind, ID: st.ID, Owner: st.Owner, State: &st, Plain: !s.full})
	}
	if !s.full {
		ready.Window = plainAllotment
	}
	s.cursor.Store(up.start)
	s.out.sendThen(ready, func() {
		s.mu.Lock()
		up.answered = true
		s.mu.Unlock()
		s.out.poke()
	})
	s.out.poke() // the claim may have ended before it was ours to be told about
}

// setPingTimeout has the window follow the client's own ping timeout. The
// first open counts: what was measured since then is worth more than a new
// number. s.mu is held.
func (s *session) setPingTimeout(ms int64, eager bool) {
	if s.timed {
		return
	}
	s.timed = true
	timeout := time.Duration(ms) * time.Millisecond
	if ms < 0 { // it never pings: what is left to protect are our own pings
		timeout = s.in.opts.Keepalive.Timeout
	}
	if timeout != 0 || eager {
		s.flow = flow.New(flow.Config{ClientTimeout: timeout, InitialWindow: protocol.InitialWindow, Eager: eager, MaxWindow: maxAllotment})
		if s.arrived > 0 { // eager bytes came already
			s.flow.Arrived(s.in.clock.now(), s.arrived)
		}
	}
}

func (s *session) ready(st resume.State, claim resume.Claim) *protocol.Ready {
	r := &protocol.Ready{
		ID:       string(st.ID),
		Offset:   st.Durable.EndFrom(0),
		Received: st.Received.EndFrom(0),
		Cursor:   claim.Cursor(),
		Missing:  []protocol.Range{},
		Have:     make([]protocol.Have, 0, len(st.Durable)),
		Complete: st.Phase != resume.Receiving,
		Keepalive: protocol.Keepalive{
			IntervalMS: s.in.opts.Keepalive.Interval.Milliseconds(),
			TimeoutMS:  s.in.opts.Keepalive.Timeout.Milliseconds(),
		},
	}
	whole := resume.Everything
	if st.Length >= 0 {
		whole.End = st.Length
		r.Length = &st.Length
	}
	if !r.Complete {
		r.Missing = wireRanges(st.Durable.Missing(whole))
	}
	for _, e := range st.Durable {
		r.Have = append(r.Have, protocol.Have{Range: protocol.Range{Start: e.Start, End: &e.End}, CRC32C: protocol.CRC32C(e.CRC32C)})
	}
	if !st.Expires.IsZero() {
		r.Limits.MaxAge = max(1, int64(time.Until(st.Expires)/time.Second))
	}
	return r
}

// bounds is how many bytes an upload may have. 0: no bound.
type bounds struct {
	size int64 // for good
	room int64 // by the quota of its owner, which others take of and leave
}

func (b bounds) told() int64 {
	if b.size == 0 || b.room > 0 && b.room < b.size {
		return b.room
	}
	return b.size
}

// claim asks the hook and the store for the right to write.
func (s *session) claim(id resume.ID, o *protocol.Open) (claim resume.Claim, most bounds, err error) {
	asked := Opening{
		Request: s.req,
		Resume:  o.Resume,
		Ticket:  o.Ticket,
		Range:   resume.Everything,
		MaxSize: s.in.opts.MaxSize,
		Info: resume.Info{
			ID: id, Owner: s.in.opts.Owner(s.req),
			Name: strings.ToValidUTF8(o.Name, "_"), Type: o.Type, Metadata: o.Metadata,
			Length: resume.UnknownLength, WantSHA256: o.WantDigest == protocol.SHA256,
		},
	}
	if o.Length != nil {
		asked.Info.Length = *o.Length
	}
	if r := o.Range; r != nil {
		asked.Range.Start = r.Start
		if r.End != nil {
			asked.Range.End = *r.End
		}
	}
	if s.permitted, err = s.checkTicket(&asked); err != nil {
		return nil, most, err
	}
	if hook := s.in.opts.OnOpen; hook != nil {
		if err := hook(s.req.Context(), &asked); err != nil {
			return nil, most, refused(err)
		}
	}
	if e := s.in.refused.of(id, asked.Info.Owner); e != nil {
		return nil, most, e
	}
	if asked.MaxSize > 0 && asked.Info.Length > asked.MaxSize {
		return nil, most, tooLarge(id, asked.MaxSize)
	}
	asked.Info.ID, most.size = id, asked.MaxSize
	fresh := false
	if q := s.in.quota; q != nil {
		if most.room, fresh, err = q.admit(s.in.work, &asked); err != nil {
			return nil, most, err
		}
	}
	claim, err = s.in.store.Open(s.in.work, resume.OpenOptions{
		Info: asked.Info, Range: asked.Range, MustExist: o.Resume || s.permitted.resumeOnly, Notify: s.out.poke,
	})
	if err != nil {
		if fresh {
			s.in.quota.release(id) // it did not come to be
		}
		return nil, most, err
	}
	if st := claim.State(); st.Phase == resume.Receiving && s.in.overdue(st.Created) {
		claim.Close()
		return nil, most, s.in.deleteOverdue(id)
	}
	return claim, most, nil
}

// refused makes an error of OnOpen one the client is told: forbidden, unless
// it says otherwise.
func refused(err error) error {
	if _, ok := err.(*Refusal); ok {
		return err
	}
	detail := err.Error()
	if detail == "" {
		detail = "the server's rules do not let you open this upload: ask who runs it"
	}
	return &protocol.Error{Code: protocol.Forbidden, Detail: upperFirst(detail)}
}

func tooLarge(id resume.ID, most int64) *protocol.Error {
	return &protocol.Error{ID: string(id), Code: protocol.MaxSizeExceeded, Resumable: false,
		Detail: fmt.Sprintf("An upload here may have at most %d bytes (max-size).", most)}
}

// check compares the client's checksum with our own, and on a difference goes
// back to where the two last agreed.
func (s *session) check(up *upload, m *protocol.Check) {
	cursor := up.claim.Cursor()
	if m.Offset != cursor {
		s.fail(&protocol.Error{ID: string(up.id), Code: protocol.MismatchingOffset, Resumable: true, Offset: &cursor,
			Detail: fmt.Sprintf("The check speaks of offset %d, but this connection stands at %d: check everything that was sent, and nothing else.", m.Offset, cursor)})
		return
	}
	if up.crc == uint32(m.CRC32C) {
		up.claim.Checkpoint()
		return
	}
	back, err := up.claim.Rewind(s.in.work)
	if err != nil {
		s.claimEnded(up, err)
		return
	}
	s.fail(&protocol.Error{ID: string(up.id), Code: protocol.DigestMismatch, Resumable: true, Offset: &back,
		Detail: fmt.Sprintf("The bytes up to %d did not arrive as they were sent: the upload went back to %d, open it again and go on from there.", cursor, back)})
}

// cancel deletes the upload.
func (s *session) cancel(up *upload) {
	up.ended.Store(true)
	if err := s.in.delete(up.id); err != nil {
		s.fail(refusal(up.id, err))
		return
	}
	s.log.Info("upload cancelled by its client", zap.String("upload", string(up.id)))
	s.endUpload()
	s.answer(&protocol.Done{ID: string(up.id), Cancelled: true})
}

// answer sends what ends an upload. A plain connection ends with it.
func (s *session) answer(m protocol.Message) {
	switch m := m.(type) {
	case *protocol.Error:
		s.fail(m)
	default:
		if s.full {
			s.out.send(m)
		} else {
			s.lastWord(m, 1000, "")
		}
	}
}
