package filestore

import (
	"crypto/sha256"
	"encoding"
	"hash"
	"io"
	"sync"

	"github.com/wsingest/wsingest/resume"
)

// hashBlock is how many bytes are hashed at a time.
const hashBlock = 1 << 20

var hashBuffers = sync.Pool{New: func() any { return new([hashBlock]byte) }}

// follower takes the SHA-256 of an upload behind its writer's back: in line it
// would cut the throughput to a third. It reads what is received without a gap
// from 0 on, which is in the kernel's memory still. It is guarded by the
// upload's mu.
type follower struct {
	running bool
	all     bool // hash what there is, not whole blocks only

	off   int64
	state []byte // of the hash after off bytes, never changed in place; nil at 0
	gen   int    // counts the times it was set back
	saved *hashMark
}

// load takes up what a record has. A state that this program's sha256 does not
// take costs hashing again, no more.
func (f *follower) load(m *hashMark) {
	if m == nil || sha256.New().(encoding.BinaryUnmarshaler).UnmarshalBinary(m.State) != nil {
		return
	}
	f.off, f.state, f.saved = m.Offset, m.State, m
}

func (f *follower) mark() *hashMark {
	if f.off == 0 {
		return nil
	}
	return &hashMark{Offset: f.off, State: f.state}
}

// rewind forgets what was hashed of bytes from limit on.
func (f *follower) rewind(limit int64) {
	if f.saved != nil && f.saved.Offset > limit {
		f.saved = nil
	}
	f.gen++ // a block under way may reach past limit
	if f.off <= limit {
		return
	}
	f.off, f.state = 0, nil
	if f.saved != nil {
		f.off, f.state = f.saved.Offset, f.saved.State
	}
}

// resumed returns a hash that has taken in off bytes.
func (f *follower) resumed() hash.Hash {
	h := sha256.New()
	if f.state != nil {
		if err := h.(encoding.BinaryUnmarshaler).UnmarshalBinary(f.state); err != nil {
			panic(err) // load has tried it
		}
	}
	return h
}

// follow starts the follower if there is enough for it to do.
func (u *upload) follow() {
	if u.hash.running || u.hashable() == 0 {
		return
	}
	u.hash.running = true
	u.retain()
	go u.followLoop()
}

// hashable returns how many bytes can be hashed now, at most a block.
func (u *upload) hashable() int {
	if !u.info.WantSHA256 || u.next.phase != resume.Receiving || u.dead != nil || u.commit.full {
		return 0
	}
	n := min(u.contiguousFrom(u.hash.off)-u.hash.off, u.store.block)
	if n < u.store.block && !u.hash.all {
		return 0
	}
	return int(n)
}

func (u *upload) followLoop() {
	defer u.release()
	u.mu.Lock()
	h, gen := u.hash.resumed(), u.hash.gen
	for {
		if gen != u.hash.gen {
			h, gen = u.hash.resumed(), u.hash.gen
		}
		n, off, part := u.hashable(), u.hash.off, u.part
		if n == 0 {
			u.hash.running = false
			u.wake()
			u.unlock()
			return
		}
		u.unlock()

		u.store.hashing <- struct{}{}
		state, err := hashPart(h, part, off, n)
		<-u.store.hashing

		u.mu.Lock()
		switch {
		case gen != u.hash.gen: // the bytes were dropped meanwhile
		case err != nil:
			u.fail(err)
		default:
			u.hash.off, u.hash.state = off+int64(n), state
			u.wake()
		}
	}
}

// hashPart feeds n bytes at off to h and returns h's state after them.
func hashPart(h hash.Hash, part io.ReaderAt, off int64, n int) ([]byte, error) {
	buf := hashBuffers.Get().(*[hashBlock]byte)
	defer hashBuffers.Put(buf)
	if _, err := part.ReadAt(buf[:n], off); err != nil {
		return nil, err
	}
	h.Write(buf[:n])
	return h.(encoding.BinaryMarshaler).MarshalBinary()
}
