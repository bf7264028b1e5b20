package middleware

import (
	"go.uber.org/zap"

	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/resume"
)

// survive is deferred where hooks of the app run on goroutines of our own:
// there net/http does not recover, and a panic in a hook would end the process
// with everybody's uploads. It ends the connection alone, whose client comes
// back; what was received stays. id "" is the upload at hand.
func (s *session) survive(id resume.ID) {
	p := recover()
	if p == nil {
		return
	}
	if up, _ := s.current(); id == "" && up != nil {
		id = up.id
	}
	s.lastWord(s.hookPanicked(id, p), protocol.Internal.CloseCode(), string(protocol.Internal))
}

// hookPanicked logs a panic, with the stack that led to it, and returns what
// the client is told. It is called while the goroutine panics.
func (s *session) hookPanicked(id resume.ID, p any) *protocol.Error {
	s.log.Error("a hook panicked: the upload stays, and its client may come back",
		zap.String("upload", string(id)), zap.Any("panic", p), zap.Stack("stack"))
	return &protocol.Error{ID: string(id), Code: protocol.Internal, Resumable: true, RetryAfterMS: 5000,
		Detail: "The server failed over this upload: its operator finds the reason in the log. What was received stays; try again later."}
}
