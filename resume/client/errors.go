package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/coder/websocket"

	"github.com/wsingest/wsingest/middleware/protocol"
)

// What an upload fails with, to be tested with errors.Is. An error that the
// server put into words is a *[protocol.Error] besides (errors.As), with its
// code and, where an app refused the upload, the app's answer.
var (
	// ErrSourceChanged: the source is not what it was when the upload began.
	// Nothing of the two was mixed. The next call uploads it anew.
	ErrSourceChanged = errors.New("the source has changed since the upload began")
	// ErrSuperseded: another connection took the upload over, and goes on with
	// it. Who retries takes it back, and so on: it is not retried here, but once
	// for each connection of the client's own that broke within the last minute,
	// which may be the other one (PROTOCOL.md, section 8).
	ErrSuperseded = errors.New("another connection has taken over this upload")
	// ErrDigestMismatch: what the server holds is not what was read here. The
	// next call uploads it anew.
	ErrDigestMismatch = errors.New("the server's bytes differ from the source's")
	// ErrRejected: the app behind the server said no to the finished upload, or
	// the server's rules to what it began with.
	ErrRejected = errors.New("the upload was rejected")
	// ErrShortSource: the source ended before the size it was said to have.
	ErrShortSource = errors.New("the source ended before its stated size")
	// ErrGaveUp: no progress was made for as long as [Retry] allows. The upload
	// can be resumed. The error wraps what the last attempt failed with.
	ErrGaveUp = errors.New("gave up")
	// ErrStalled: the connection was silent, or took no bytes, for too long. It
	// is retried, and so shows only inside an ErrGaveUp and in [Retry.OnRetry].
	ErrStalled = errors.New("the connection stalled")
	// ErrProtocol: the other end does not speak wsingest.v1.
	ErrProtocol = errors.New("the server does not speak " + protocol.Subprotocol)
	// ErrBusy: the client is uploading under the same ID already.
	ErrBusy = errors.New("an upload with this id is under way in this client")
	// ErrClosed: the client was closed. The upload can be resumed.
	ErrClosed = errors.New("the client is closed")
)

// RefusedError is the answer to a WebSocket handshake that was not 101.
type RefusedError struct {
	Status     int           // HTTP status code
	Body       string        // the beginning of the answer, at most 1 KiB
	RetryAfter time.Duration // from Retry-After; 0: none
}

func (e *RefusedError) Error() string {
	text := fmt.Sprintf("the server refused the connection: %d %s", e.Status, http.StatusText(e.Status))
	if said := e.said(); said != "" {
		text += ": " + said
	}
	if e.Status < 400 {
		text += " (is this the URL of an upload route?)"
	}
	return text
}

// said returns what the answer says to a person: the detail of problem+json
// (RFC 9457), else its first line.
func (e *RefusedError) said() string {
	var problem struct {
		Detail string `json:"detail"`
	}
	if json.Unmarshal([]byte(e.Body), &problem) == nil && problem.Detail != "" {
		return problem.Detail
	}
	line, _, _ := strings.Cut(strings.TrimSpace(e.Body), "\n")
	return line
}

// temporary: trying again makes sense.
func (e *RefusedError) temporary() bool {
	switch e.Status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	case http.StatusNotImplemented, http.StatusHTTPVersionNotSupported:
		return false
	}
	return e.Status >= 500
}

// uploadError is what Upload returns: the upload's name and id, once, around
// what went wrong.
type uploadError struct {
	name, id string
	err      error
}

func (e *uploadError) Error() string {
	if e.name == "" {
		return fmt.Sprintf("upload %s: %v", e.id, e.err)
	}
	return fmt.Sprintf("upload %q (%s): %v", e.name, e.id, e.err)
}

func (e *uploadError) Unwrap() error { return e.err }

// Resumable reports whether err, returned by an upload, leaves it so that
// uploading the same source under the same ID, or with the same state file,
// goes on where this one ended: it was interrupted, not refused.
func Resumable(err error) bool {
	var server *protocol.Error
	var ticket *ticketError
	switch {
	case err == nil:
		return false
	case errors.As(err, &ticket):
		return true
	case errors.Is(err, ErrSourceChanged), errors.Is(err, ErrDigestMismatch), errors.Is(err, ErrShortSource):
		return false
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded),
		errors.Is(err, ErrGaveUp), errors.Is(err, ErrClosed), errors.Is(err, ErrSuperseded):
		return true
	case errors.As(err, &server):
		return server.Resumable
	}
	return false
}

// ticketError is a ticket that could not be had. Nothing is wrong with the
// upload.
type ticketError struct{ err error }

func (e *ticketError) Error() string { return fmt.Sprintf("getting a ticket: %v", e.err) }
func (e *ticketError) Unwrap() error { return e.err }

// goaway is a server that asked for another connection.
type goaway struct{ after time.Duration }

func (g *goaway) Error() string { return "the server is reloading or stopping" }

// fromServer gives an error message the sentinel that goes with it.
func fromServer(e *protocol.Error) error {
	switch e.Code {
	case protocol.Superseded:
		return fmt.Errorf("%w: %w", ErrSuperseded, e)
	case protocol.Rejected:
		return &rejectedError{e}
	case protocol.DigestMismatch:
		return fmt.Errorf("%w: %w", ErrDigestMismatch, e)
	case protocol.InconsistentLength:
		return fmt.Errorf("%w: %w", ErrSourceChanged, e)
	}
	return e
}

// isVerdict returns the server's error in err if trying again does not mend
// it, whatever the upload itself may be good for.
func isVerdict(err error) (*protocol.Error, bool) {
	var e *protocol.Error
	if !errors.As(err, &e) {
		return nil, false
	}
	switch e.Code {
	case protocol.Superseded, protocol.BadMessage, protocol.InconsistentLength:
		return e, true
	}
	return e, !e.Resumable
}

// superseded reports whether err says that another connection took over.
func superseded(err error) bool {
	var e *protocol.Error
	return errors.Is(err, ErrSuperseded) || errors.As(err, &e) && e.Code == protocol.Superseded
}

// closed makes of a close without an error message what that message would
// have said, for the codes that tell (PROTOCOL.md, section 16).
func closed(err error) error {
	switch code := websocket.CloseStatus(err); code {
	case websocket.StatusCode(protocol.Superseded.CloseCode()):
		return &finalError{fmt.Errorf("%w: %w", ErrSuperseded, err)}
	case websocket.StatusPolicyViolation, websocket.StatusMessageTooBig:
		return &finalError{fmt.Errorf("the server, or a proxy before it, closed the connection for good: %w", err)}
	}
	if isFinal(err) {
		return err
	}
	return fmt.Errorf("the connection broke: %w", err)
}

// rejectedError is an ErrRejected in the server's words alone: it is not always
// the app who says no.
type rejectedError struct{ server *protocol.Error }

func (e *rejectedError) Error() string { return e.server.Error() }

func (e *rejectedError) Unwrap() []error { return []error{ErrRejected, e.server} }
