package middleware

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/resume"
)

// HeadSize is how many bytes of an upload [Options.OnHead] gets to see.
const HeadSize = 64 << 10

// Head is the beginning of an upload, for [Options.OnHead].
type Head struct {
	Request *http.Request // the upgrade request; read only
	State   resume.State
	// Bytes are the first HeadSize bytes of the file, or all of a smaller one; of
	// an upload that comes in lanes those of its first lane at the most. They are
	// the hook's until it returns.
	Bytes []byte
}

// judges reports whether anybody wants to see heads.
func (o *Options) judges() bool { return len(o.AcceptTypes) > 0 || o.OnHead != nil }

// verdict asks everybody who decides on heads; nil: the upload may go on.
func (in *Ingest) verdict(r *http.Request, st resume.State, head []byte) *protocol.Error {
	err := acceptedType(in.opts.AcceptTypes, head)
	if hook := in.opts.OnHead; err == nil && hook != nil {
		err = hook(r.Context(), &Head{Request: r, State: st, Bytes: head})
	}
	if err == nil {
		return nil
	}
	if own, ok := err.(*Refusal); ok {
		return refusal(st.ID, own)
	}
	detail := err.Error()
	if detail == "" {
		detail = "the server does not take files such as this one: ask who runs it"
	}
	return rejection(st, upperFirst(detail))
}

// acceptedType goes by the bytes, whatever the client says of them.
func acceptedType(types []string, head []byte) error {
	if len(types) == 0 {
		return nil
	}
	got, _, _ := strings.Cut(http.DetectContentType(head), ";")
	for _, want := range types {
		kind, all := strings.CutSuffix(strings.ToLower(want), "/*")
		if got == kind || all && strings.HasPrefix(got, kind+"/") {
			return nil
		}
	}
	return fmt.Errorf("the file looks like %s, accepted here is %s", got, strings.Join(types, ", "))
}

// headSize returns how many bytes of the upload are judged, on a connection
// that brings its range; -1 when it brings others, or nobody judges.
func (s *session) headSize(length int64, r *protocol.Range) int64 {
	size := int64(HeadSize)
	switch {
	case !s.in.opts.judges() || r != nil && r.Start > 0:
		return -1
	case r != nil && r.End != nil:
		size = min(size, *r.End)
	}
	if length >= 0 {
		size = min(size, length)
	}
	return size
}

// judgeOpened judges what is there already of an upload that was just opened.
func (s *session) judgeOpened() {
	up, _ := s.current()
	if up == nil {
		return
	}
	if e := s.in.refused.of(up.id, up.owner); e != nil { // while this was opened
		_ = s.in.delete(up.id) // else it expires
		s.letGo(up)
		s.answer(e)
		return
	}
	s.judge(up)
}

// judge has the head of the upload judged once it is there, and reports whether
// the upload goes on. What cannot be read yet is judged when it is complete.
func (s *session) judge(up *upload) bool {
	if up.judged || up.head < 0 || up.claim.Cursor() < up.head {
		return true
	}
	reader, ok := up.claim.(resume.HeadReader)
	if !ok {
		return true
	}
	head := make([]byte, up.head)
	n, err := reader.ReadHead(head)
	if err != nil {
		s.claimEnded(up, err)
		return false
	}
	up.judged = true
	st := up.claim.State()
	e := s.in.verdict(s.req, st, head[:n])
	if e == nil {
		return true
	}
	if !e.Resumable {
		s.turnAway(up, st, e)
		return false
	}
	s.letGo(up)
	s.answer(e)
	return false
}

// turnAway ends an upload whose head was refused: nothing of it stays.
func (s *session) turnAway(up *upload, st resume.State, e *protocol.Error) {
	s.in.refused.add(up.id, up.owner, e)
	_ = s.in.delete(up.id) // else it expires
	s.log.Info("upload rejected by its first bytes", zap.String("upload", string(up.id)), zap.String("detail", e.Detail))
	s.in.opts.Observer(Event{Kind: Rejected, ID: st.ID, Owner: st.Owner, State: &st, Plain: !s.full, Code: e.Code, Bytes: st.Received.Size()})
	s.letGo(up)
	s.answer(e)
}

// letGo passes over what still comes for an upload: its client sent it before
// it could know.
func (s *session) letGo(up *upload) {
	up.ended.Store(true)
	s.endUpload()
	s.mu.Lock()
	s.passive = true
	s.mu.Unlock()
}

// refusedHeads remembers for a while which uploads were refused by their heads:
// other lanes of theirs that end, or come late, hear the same, and bring nothing
// of them back.
type refusedHeads struct {
	mu   sync.Mutex
	last []refusedHead // in order of time
}

type refusedHead struct {
	id    resume.ID
	owner string
	at    time.Time
	e     *protocol.Error
}

const (
	refusedFor = time.Minute
	maxRefused = 1000
)

func (h *refusedHeads) add(id resume.ID, owner string, e *protocol.Error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	past := 0
	for past < len(h.last) && (now.Sub(h.last[past].at) > refusedFor || len(h.last)-past >= maxRefused) {
		past++
	}
	h.last = append(slices.Delete(h.last, 0, past), refusedHead{id, owner, now, e})
}

// of returns what came of the upload, nil if it was not refused of late.
func (h *refusedHeads) of(id resume.ID, owner string) *protocol.Error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range h.last {
		if r.id == id && r.owner == owner && time.Since(r.at) <= refusedFor {
			return r.e
		}
	}
	return nil
}

// judgeWhole judges an upload that is complete, and was not judged before: nil
// when it may be delivered.
func (in *Ingest) judgeWhole(r *http.Request, st resume.State) *protocol.Error {
	if !in.opts.judges() {
		return nil
	}
	content, err := in.store.Content(in.work, st.ID)
	if err != nil {
		return refusal(st.ID, err)
	}
	defer content.Close()
	head := make([]byte, min(HeadSize, content.Size()))
	if n, err := content.ReadAt(head, 0); n < len(head) {
		return refusal(st.ID, err)
	}
	return in.verdict(r, st, head)
}
