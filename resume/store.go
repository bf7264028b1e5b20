package resume

import (
	"context"
	"io"
	"iter"
	"time"
)

// UnknownLength stands for the length of an upload whose end is not known
// before it is finished.
const UnknownLength = -1

// Limits every store takes at the least, so that what an upload carries beside
// its bytes fits into a small record of fixed size.
const (
	MaxNameLength   = 1 << 10  // bytes of Info.Name, Info.Type and Info.Owner, each
	MaxMetadataSize = 8 << 10  // bytes of all keys and values of Info.Metadata
	MaxResultSize   = 96 << 10 // bytes of State.Result: 64 KiB in base64, and what goes with it
	MaxOriginSize   = 16 << 10 // bytes of FinishOptions.Origin
	MaxExtents      = 1 << 10  // runs of bytes with gaps between them
)

// Info is what the client, or the app on its behalf, says about an upload when
// it is created. Only Length may become known later; all else is fixed.
type Info struct {
	ID       ID
	Owner    string            // who may open it; compared byte for byte
	Name     string            // the file's name as the client gave it: never trust it as a path
	Type     string            // media type
	Length   int64             // in bytes, or UnknownLength
	Metadata map[string]string // passed through, never interpreted
	// WantSHA256 makes the store hash the bytes while they arrive, so that the
	// digest is there when the upload completes.
	WantSHA256 bool
}

// Phase is where an upload is in its life. It only ever moves forward.
type Phase string

const (
	// Receiving: bytes are missing, or finish was not called yet.
	Receiving Phase = "receiving"
	// Complete: all bytes are durable and verified; nobody has taken the file
	// yet. A crash in this phase must not lose the upload.
	Complete Phase = "complete"
	// Delivered: somebody took the file, and Result says what they answered.
	// The bytes are gone from the store; the record stays until it expires.
	Delivered Phase = "delivered"
)

// State is a snapshot of an upload. Its slices and maps are shared: read only.
type State struct {
	Info
	Phase Phase
	// Epoch counts the claims ever made on the upload. It never goes back, also
	// over restarts; but a crash may forget the last claims if nothing of them
	// was durable yet.
	Epoch uint64
	// Durable is on stable storage: it survives power loss, and no byte of it
	// is ever asked for again.
	Durable Extents
	// Received is what the store has taken in, a superset of Durable. A restart
	// may lose the difference.
	Received Extents
	// SHA256 of the whole content, 32 bytes: from phase Complete on, when
	// Info.WantSHA256 or Finish asked for it. Else nil.
	SHA256 []byte
	// Origin is what Finish was given to remember, as long as the phase is
	// Complete; else nil. Opaque to the store.
	Origin []byte
	// Result is what Settle recorded. Opaque to the store.
	Result []byte
	// Created and Updated are when the upload was made and when its durable
	// state changed last, to the second.
	Created, Updated time.Time
	// Expires is when the store may remove the upload unless something
	// happens to it. Zero: never.
	Expires time.Time
}

// CRC32C returns the checksum of the whole content; ok is false while bytes
// are missing.
func (s State) CRC32C() (crc uint32, ok bool) {
	switch {
	case s.Length == 0:
		return 0, true
	case len(s.Durable) == 1 && s.Durable[0].Range == Range{0, s.Length}:
		return s.Durable[0].CRC32C, true
	}
	return 0, false
}

// Store keeps uploads over connections and restarts. All methods may be called
// concurrently. Errors wrap the variables of this package where one fits.
//
// Durable means: a store must not report a byte in State.Durable, Claim.Durable
// or a return of Claim.Sync before it would survive the loss of power. What was
// once reported durable stays so; only Claim.Rewind and Delete take it back.
//
// The suite in package storetest holds a store to every sentence here.
type Store interface {
	// Open creates the upload o.Info.ID, or takes up the one that is there, and
	// claims o.Range of it. It is idempotent: after an answer was lost, the same
	// call does the same.
	//
	// Every live claim on the upload that overlaps the new one is superseded
	// before Open returns: from then on its calls fail with ErrSuperseded and
	// not a byte of it reaches the upload any more. Open never waits for a claim
	// to be given up; it waits only for a write under way.
	//
	// Of an existing upload everything in o.Info but Owner, Length and
	// WantSHA256 is ignored.
	// A foreign Owner is ErrNotFound; the same as for an ID that is not there
	// when o.MustExist. A Length that contradicts is ErrLength; one that was
	// unknown becomes known, and must not be less than what is received.
	// WantSHA256 may be added as long as the upload is not complete.
	//
	// An upload that is complete or delivered opens too, so that its state can
	// be read: writes to that claim fail with ErrComplete.
	//
	// Space for a known length is reserved now where the storage can; if there
	// is not enough, Open fails with ErrNoSpace and creates nothing.
	Open(ctx context.Context, o OpenOptions) (Claim, error)

	// Stat returns the state of an upload without claiming any of it.
	Stat(ctx context.Context, id ID) (State, error)

	// All yields every upload in the store, in no order, as it was at some moment
	// during the iteration. It may be slow: it is for start-up and operators.
	All(ctx context.Context) iter.Seq2[State, error]

	// Content opens the bytes of a complete upload. ErrNotComplete before that;
	// ErrNotFound once it is delivered.
	Content(ctx context.Context, id ID) (Content, error)

	// Settle moves a complete upload to phase Delivered with a result of at most
	// MaxResultSize bytes, durably, then releases its bytes. An upload that is
	// delivered already keeps its first result, and Settle returns nil.
	Settle(ctx context.Context, id ID, result []byte) error

	// Delete removes an upload whatever its phase, ending its claims with
	// ErrNotFound. An upload that is not there is ErrNotFound.
	Delete(ctx context.Context, id ID) error

	// Close makes everything received durable, ends all claims with ErrClosed
	// and releases the storage. No method may be called afterwards.
	Close() error
}

// OpenOptions are the arguments of [Store.Open].
type OpenOptions struct {
	Info Info
	// Range is what the claim covers; the zero value means [Everything]. A
	// bounded range is a lane: several may be live on one upload side by side as
	// long as they do not overlap. A range past a known length is ErrLength.
	Range Range
	// MustExist makes Open fail with ErrNotFound rather than create.
	MustExist bool
	// Notify, if set, is called after Durable advanced and after the claim was
	// ended by something else than its own Close. It is never called
	// concurrently with itself, may be called while Open has not returned yet,
	// and must not block nor call the store.
	Notify func()
}

// Claim is the right to write a range of an upload, held by one connection
// until it is closed or superseded. Write, Checkpoint, Rewind and Finish
// belong to one goroutine; the rest may be called from any.
//
// A claim has a cursor: the first byte of its range that was not received when
// it was opened. Bytes go in at the cursor and move it on.
type Claim interface {
	// State returns a snapshot of the whole upload.
	State() State

	// Start returns where the cursor stood when the claim was opened.
	Start() int64

	// Cursor returns the position of the next byte. [Start, Cursor) has been
	// taken in.
	Cursor() int64

	// SetCursor moves the cursor back over bytes that are received already, for
	// a client that sends some of them again. It is allowed before the first
	// Write only, and only to where every byte up to the old cursor is received;
	// else the error is ErrLength. Start follows.
	SetCursor(off int64) error

	// Err returns nil while the claim is live, and what ended it afterwards:
	// ErrSuperseded, ErrComplete (another claim finished the upload),
	// ErrNotFound (it was deleted), ErrClosed, or the fault of the storage.
	Err() error

	// Durable returns how far the bytes from Start are on stable storage, never
	// further than Cursor.
	Durable() int64

	// Write takes in p at the cursor. When it returns, p may be used again. A
	// part of p that falls on bytes received before is passed over: the bytes
	// first received stay, and the cursor moves on.
	//
	// n bytes were taken in; n < len(p) comes with an error. ErrLength when p
	// reaches past the range or the known length: then nothing of p is taken
	// in. ErrTooManyGaps when p would begin one run of bytes too many.
	// ErrSuperseded, ErrComplete, ErrNotFound, ErrClosed when the claim has
	// ended. ErrNoSpace when the storage is full; Write may be called again with
	// p[n:] once there is room. Any other error is a fault of the storage: the
	// claim is of no more use, what is durable stays.
	Write(p []byte) (n int, err error)

	// Checkpoint declares the bytes up to the cursor checked: Rewind goes back to
	// here.
	Checkpoint()

	// Rewind drops the bytes that this claim took in since the last Checkpoint
	// (or since it was opened), also those that were durable, and returns the new
	// cursor. It is the answer to a checksum that does not fit. Bytes received
	// before the claim was opened stay.
	Rewind(ctx context.Context) (cursor int64, err error)

	// Sync makes everything the claim has taken in durable before it returns.
	// Calls from many claims share one trip to the disk where the storage can.
	// Without it the store syncs by itself, in the background, often enough that
	// Durable follows Cursor by a bounded time and number of bytes. ErrNoSpace
	// when the storage is full: the claim goes on, and the store tries again.
	Sync(ctx context.Context) error

	// Finish declares that nothing else will be sent: it makes all of the upload
	// durable, verifies it, and moves it to phase Complete, durably. The claim is
	// of use only for State and Close afterwards.
	//
	// While bytes are missing that other live claims cover, Finish waits for
	// them, up to ctx. If no live claim covers them it fails with an
	// IncompleteError. A length that differs from the one known, or that is less
	// than was received, is ErrLength. A digest that differs is ErrDigestMismatch. After each of these
	// errors nothing is lost, the upload is in phase Receiving, and the claim
	// goes on. Finishing what is complete already, with the same length and
	// digests, succeeds.
	Finish(ctx context.Context, o FinishOptions) (State, error)

	// Close gives the claim up, without waiting for the storage. What was
	// received stays and becomes durable. It may be called more than once.
	Close() error
}

// SumWriter is what a [Claim] may be besides, if its store keeps checksums:
// one that does not compute again what its caller has computed already.
type SumWriter interface {
	// WriteSum is Claim.Write of bytes whose CRC-32C is crc. The caller answers
	// for that: the store keeps crc as the sum of p and compares digests with
	// it, without going over p again. A wrong one leaves an upload whose
	// checksums do not fit its bytes.
	WriteSum(p []byte, crc uint32) (n int, err error)
}

// WriteSum writes p, whose CRC-32C is crc, with [SumWriter] where c is one,
// else with Write.
func WriteSum(c Claim, p []byte, crc uint32) (n int, err error) {
	if w, ok := c.(SumWriter); ok {
		return w.WriteSum(p, crc)
	}
	return c.Write(p)
}

// HeadReader is what a [Claim] may be besides, if its store can read bytes back
// while the upload is on its way: what it is can be told early then.
type HeadReader interface {
	// ReadHead reads what was received from byte 0 on without a gap into p, as
	// much as fits. n < len(p) is no error. A claim that has ended fails with
	// what ended it. It belongs to the goroutine that writes.
	ReadHead(p []byte) (n int, err error)
}

// FinishOptions are the arguments of [Claim.Finish].
type FinishOptions struct {
	// Length of the whole upload in bytes, or UnknownLength when the caller has
	// nothing to say: then it is the length known from Open, else as far as
	// bytes were received.
	Length int64
	// SHA256, 32 bytes, and CRC32C of the whole content are compared where they
	// are not nil.
	SHA256 []byte
	CRC32C *uint32
	// Origin, of at most MaxOriginSize bytes, is kept with the upload until it is
	// delivered: what its delivery needs when nobody is there but the store. Of
	// several calls that finish one upload, the first counts.
	Origin []byte
}

// Content is the bytes of a complete upload, open for reading.
type Content interface {
	io.ReaderAt
	io.Closer
	// Size in bytes.
	Size() int64
}

// FileContent is a [Content] that is a file on a local disk, which its reader
// may move away instead of copying it.
type FileContent interface {
	Content
	// Path of the file. It stays valid until the upload is settled.
	Path() string
	// Rename moves the file to a path on the same file system, replacing what
	// is there, and makes the move durable. Reading goes on to work.
	Rename(to string) error
}

// Conflict is what to do when a file is to be published under a name that is
// taken.
type Conflict string

const (
	ConflictRename    Conflict = "rename"    // find a free name: "a.txt", "a (1).txt", ...
	ConflictOverwrite Conflict = "overwrite" // replace the file that is there
	ConflictFail      Conflict = "fail"      // ErrExists
)

// Publisher is a [Store] that can give a complete upload its final name.
type Publisher interface {
	Store
	// Publish makes the complete upload id appear as dir/name, whole or not at
	// all, durably, and returns where it is. The upload stays in phase Complete
	// until Settle; until then calling Publish again, also after a crash, finds
	// what the first call did and returns the same location.
	//
	// dir has to be there. name is one path element, fit for the file system; see [SafeName].
	Publish(ctx context.Context, id ID, dir, name string, o PublishOptions) (location string, err error)
}
