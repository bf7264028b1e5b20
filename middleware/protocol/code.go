package protocol

// Code says in one word what went wrong; Error.Code on the wire.
type Code string

// The codes of version 1. PROTOCOL.md, section 16, says what each means, and
// what a client does.
const (
	BadMessage         Code = "bad-message"
	BadID              Code = "bad-id"
	NotFound           Code = "not-found"
	Forbidden          Code = "forbidden"
	MaxSizeExceeded    Code = "max-size-exceeded"
	InconsistentLength Code = "inconsistent-upload-length"
	MismatchingOffset  Code = "mismatching-upload-offset"
	DigestMismatch     Code = "digest-mismatch"
	QuotaExceeded      Code = "quota-exceeded"
	InsufficientSpace  Code = "insufficient-storage"
	Rejected           Code = "rejected"
	Superseded         Code = "superseded"
	IdleTimeout        Code = "idle-timeout"
	Draining           Code = "draining"
	Overloaded         Code = "overloaded"
	Internal           Code = "internal"
)

// CloseCode returns the WebSocket close code that goes with c (RFC 6455,
// section 7.4.1; from 4000 on private use).
func (c Code) CloseCode() int {
	switch c {
	case MaxSizeExceeded:
		return 1009
	case Internal:
		return 1011
	case Draining:
		return 1012
	case InsufficientSpace, Overloaded:
		return 1013
	case IdleTimeout:
		return 4408
	case Superseded:
		return 4409
	}
	return 1008
}

// EndsConnection reports whether the server closes the connection behind the
// error. The two that do not end it concern an upload the client has already
// let go of with finish, and the connection may carry the next one.
func (e *Error) EndsConnection() bool {
	return e.Code != Rejected && (e.Code != DigestMismatch || e.Offset != nil)
}
