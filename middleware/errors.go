package middleware

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"time"

	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/resume"
)

// Refusal is an error of a hook that says how the client is told.
type Refusal struct {
	// Code is one of package protocol, such as protocol.QuotaExceeded.
	Code protocol.Code
	// Detail is a sentence a person can act on.
	Detail string
	// RetryAfter, if not 0, makes the refusal one that may pass.
	RetryAfter time.Duration
}

func (r *Refusal) Error() string { return string(r.Code) + ": " + r.Detail }

var idleTimeout = &protocol.Error{
	Code:      protocol.IdleTimeout,
	Detail:    "The connection holds no upload. Connect again when there is one.",
	Resumable: true,
}

// refusal is how an error of the store, or of a hook, is told to the client.
// What is the operator's business alone, such as a path, is logged and not
// told.
func refusal(id resume.ID, err error) *protocol.Error {
	e := &protocol.Error{ID: string(id)}
	var own *protocol.Error
	var incomplete *resume.IncompleteError
	var hook *Refusal
	switch {
	case errors.As(err, &own):
		*e = *own
		e.ID = string(id)
	case errors.As(err, &hook):
		e.Code, e.Detail = hook.Code, hook.Detail
		e.RetryAfterMS = hook.RetryAfter.Milliseconds()
		e.Resumable = hook.RetryAfter > 0
	case errors.Is(err, resume.ErrBadID):
		e.Code, e.Detail = protocol.BadID, fmt.Sprintf("The id is refused: %v.", err)
	case errors.Is(err, resume.ErrNotFound):
		e.Code, e.Detail = protocol.NotFound, "There is no such upload: it never was, it expired, or it was cancelled. Start it again under a new id."
	case errors.Is(err, resume.ErrLost):
		e.Code, e.Detail = protocol.NotFound, "The server's storage has lost bytes of this upload. Start it again under a new id."
	case errors.Is(err, resume.ErrSuperseded):
		e.Code, e.Detail = protocol.Superseded, "Another connection has opened this upload and goes on with it."
		e.Resumable = true
	case errors.As(err, &incomplete):
		e.Code, e.Resumable = protocol.MismatchingOffset, true
		e.Detail = fmt.Sprintf("The upload cannot be finished yet (%v). Open it again and send what is missing.", incomplete)
		e.Missing = wireRanges(incomplete.Missing)
	case errors.Is(err, resume.ErrLength):
		e.Code, e.Resumable = protocol.InconsistentLength, true
		e.Detail = fmt.Sprintf("The length does not fit (%v). What was received before stays.", err)
	case errors.Is(err, resume.ErrNoSpace), errors.Is(err, syscall.ENOSPC):
		e.Code, e.Resumable = protocol.InsufficientSpace, true
		e.Detail = "The server has no room for the upload now. What was received stays; try again later."
		e.RetryAfterMS = 30_000
	case errors.Is(err, resume.ErrDigestMismatch):
		e.Code = protocol.DigestMismatch
		e.Detail = fmt.Sprintf("The file received is not the one announced (%v). Cancel the upload and send it again under a new id.", err)
	case errors.Is(err, resume.ErrComplete):
		e.Code = protocol.BadMessage
		e.Detail = "The upload is complete and takes no more bytes."
	case errors.Is(err, resume.ErrClosed), errors.Is(err, context.Canceled):
		e.Code, e.Resumable, e.RetryAfterMS = protocol.Draining, true, 1000
		e.Detail = "The server is stopping. Connect again; what was received stays."
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		e.Code, e.Resumable, e.RetryAfterMS = protocol.Internal, true, 30_000
		e.Detail = "The server may not write to its own storage: its operator has to mend that. What was received stays."
	default:
		e.Code, e.Resumable, e.RetryAfterMS = protocol.Internal, true, 5000
		e.Detail = "The server's storage failed. What the last ack called durable stays; try again later."
	}
	return e
}

func wireRanges(ranges []resume.Range) []protocol.Range {
	out := make([]protocol.Range, 0, len(ranges))
	for _, r := range ranges {
		w := protocol.Range{Start: r.Start}
		if r.End != resume.Unbounded {
			w.End = &r.End
		}
		out = append(out, w)
	}
	return out
}
