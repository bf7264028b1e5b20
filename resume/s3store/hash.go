package s3store

import (
	"crypto/sha256"
	"encoding"
	"hash"
)

// hasher takes the SHA-256 of an upload while its bytes come in order from 0
// on. What came otherwise is read from the object in the end, from off on. It
// is guarded by the upload's mu.
type hasher struct {
	h     hash.Hash // nil at 0
	off   int64
	saved *hashMark // a state to go back to
}

// load takes up what a record has. A state that this program's sha256 does not
// take costs hashing again, no more.
func (f *hasher) load(m *hashMark) {
	if m == nil {
		return
	}
	h := sha256.New()
	if h.(encoding.BinaryUnmarshaler).UnmarshalBinary(m.State) == nil {
		f.h, f.off, f.saved = h, m.Offset, m
	}
}

// take hashes p, which lies at off.
func (f *hasher) take(p []byte, off int64) {
	if off != f.off {
		return
	}
	if f.h == nil {
		f.h = sha256.New()
	}
	f.h.Write(p)
	f.off += int64(len(p))
}

// mark returns the state as it is.
func (f *hasher) mark() *hashMark {
	if f.off == 0 {
		return nil
	}
	state, err := f.h.(encoding.BinaryMarshaler).MarshalBinary()
	if err != nil {
		return nil // and hash again
	}
	return &hashMark{Offset: f.off, State: state}
}

// rewind forgets bytes from off on; m is a state from before, or nil.
func (f *hasher) rewind(off int64, m *hashMark) {
	if f.saved != nil && f.saved.Offset > off {
		f.saved = nil
	}
	if f.off <= off {
		return
	}
	best := f.saved
	if m != nil && m.Offset <= off && (best == nil || m.Offset > best.Offset) {
		best = m
	}
	f.h, f.off = nil, 0
	saved := f.saved
	f.load(best)
	f.saved = saved
}

// sum returns the digest of what was taken.
func (f *hasher) sum() []byte {
	if f.h == nil {
		return sha256.New().Sum(nil)
	}
	return f.h.Sum(nil)
}
