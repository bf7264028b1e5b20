package resume

import (
	"errors"
	"fmt"
	"strings"
)

// What a [Store] answers, to be tested with errors.Is. An error that wraps
// none of them is a fault of the storage itself; the upload keeps what is
// durable and can be opened again.
var (
	// ErrBadID: the ID is not of the form [ParseID] takes.
	ErrBadID = errors.New("bad upload id")
	// ErrNotFound: there is no such upload, or it belongs to another owner.
	// The two must not be told apart.
	ErrNotFound = errors.New("no such upload")
	// ErrSuperseded: a newer claim on overlapping bytes ended this one.
	ErrSuperseded = errors.New("superseded by a newer connection")
	// ErrLength: the length contradicts what is known, or bytes were written
	// past it or past the claimed range.
	ErrLength = errors.New("inconsistent upload length")
	// ErrTooManyGaps: the bytes would leave more than MaxExtents runs with gaps
	// between them. Nothing is lost; fill some gaps first.
	ErrTooManyGaps = errors.New("too many gaps between the bytes received")
	// ErrNoSpace: the storage has no room for the upload.
	ErrNoSpace = errors.New("insufficient storage")
	// ErrDigestMismatch: the bytes held do not have the digest expected.
	ErrDigestMismatch = errors.New("digest mismatch")
	// ErrIncomplete: bytes are missing; see [IncompleteError].
	ErrIncomplete = errors.New("upload is incomplete")
	// ErrComplete: the upload is complete and takes no more bytes.
	ErrComplete = errors.New("upload is complete already")
	// ErrNotComplete: the call needs a complete upload.
	ErrNotComplete = errors.New("upload is not complete yet")
	// ErrExists: publishing found the name taken, and was told to fail then.
	ErrExists = errors.New("a file of that name exists")
	// ErrLost: the storage has lost bytes that were durable, for good.
	ErrLost = errors.New("the storage has lost bytes of the upload")
	// ErrClosed: the store or the claim is closed.
	ErrClosed = errors.New("closed")
)

// IncompleteError says which bytes are missing. It is an [ErrIncomplete].
type IncompleteError struct{ Missing []Range }

func (e *IncompleteError) Error() string {
	const most = 4
	var b strings.Builder
	for i, r := range e.Missing {
		if i == most {
			fmt.Fprintf(&b, " and %d more", len(e.Missing)-most)
			break
		}
		fmt.Fprintf(&b, " %v", r)
	}
	return ErrIncomplete.Error() + ": missing" + b.String()
}

// Is makes errors.Is(err, ErrIncomplete) hold.
func (e *IncompleteError) Is(target error) bool { return target == ErrIncomplete }
