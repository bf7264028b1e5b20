package filestore

import (
	"fmt"
	"time"

	"github.com/wsingest/wsingest/resume"
)

// kept is where the journal has an upload.
type kept struct {
	seg     *segment // of the newest record
	off     uint32   // where in it
	n       uint32   // bytes
	updated int64    // seconds since 1970
	phase   byte
	pieces  []piece // its bytes, in the order in which they were written
}

// piece is some bytes of an upload.
type piece struct {
	seg *segment
	off uint32
	n   uint32
	at  int64 // where they belong in the upload
}

// maxPieces bounds the pieces of an upload. Then all of it is written anew.
const maxPieces = 16

// note has the index say what an entry did; mu is held.
func (j *journal) note(seg *segment, e *entry) {
	old, there := j.held[e.id]
	if there {
		j.alive -= old.alive(e.id)
	}
	if e.kind == entryGone {
		delete(j.held, e.id)
		return
	}
	seg.ids = append(seg.ids, e.id)
	p := kept{seg: seg, off: uint32(e.recordAt()), n: uint32(len(e.record)), updated: e.updated, phase: e.phase}
	if e.kind == entryMore {
		p.pieces = old.pieces
	}
	if len(e.data) > 0 {
		p.pieces = append(p.pieces[:len(p.pieces):len(p.pieces)], piece{seg: seg, off: uint32(e.dataAt()), n: uint32(len(e.data)), at: e.at})
	}
	j.held[e.id] = p
	j.alive += p.alive(e.id)
}

// alive returns how many bytes of the journal the upload keeps.
func (p kept) alive(id resume.ID) int64 {
	n := entryHeader + int64(len(id)) + int64(p.n)
	for _, q := range p.pieces {
		n += int64(q.n)
	}
	return n
}

func (p kept) in(seg *segment) bool {
	if p.seg == seg {
		return true
	}
	for _, q := range p.pieces {
		if q.seg == seg {
			return true
		}
	}
	return false
}

// record returns the newest record of an upload, nil if there is none.
func (j *journal) record(id resume.ID) ([]byte, error) {
	j.mu.RLock()
	defer j.mu.RUnlock()
	p, ok := j.held[id]
	if !ok {
		return nil, nil
	}
	return p.seg.bytes(p.off, p.n)
}

// content returns the bytes of an upload, as far as any were written.
func (j *journal) content(id resume.ID) ([]byte, error) {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return j.held[id].content()
}

func (p kept) content() ([]byte, error) {
	end := int64(0)
	for _, q := range p.pieces {
		end = max(end, q.at+int64(q.n))
	}
	b := make([]byte, end)
	for _, q := range p.pieces {
		if _, err := q.seg.file.ReadAt(b[q.at:q.at+int64(q.n)], int64(q.off)); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
		}
	}
	return b, nil
}

func (seg *segment) bytes(off, n uint32) ([]byte, error) {
	b := make([]byte, n)
	if _, err := seg.file.ReadAt(b, int64(off)); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return b, nil
}

// whole returns an entry that says all there is of an upload, nil if there is
// nothing; mu is held for reading.
func (j *journal) whole(id resume.ID) (*entry, error) {
	p, ok := j.held[id]
	if !ok {
		return nil, nil
	}
	record, err := p.seg.bytes(p.off, p.n)
	if err != nil {
		return nil, err
	}
	e := &entry{kind: entryWhole, phase: p.phase, id: id, updated: p.updated, record: record}
	e.data, err = p.content()
	return e, err
}

// pieces returns of how many pieces an upload is.
func (j *journal) pieces(id resume.ID) int {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return len(j.held[id].pieces)
}

func (j *journal) has(id resume.ID) bool {
	j.mu.RLock()
	defer j.mu.RUnlock()
	_, ok := j.held[id]
	return ok
}

// updated returns when the newest record of an upload was written.
func (j *journal) updated(id resume.ID) (at time.Time, ok bool) {
	j.mu.RLock()
	defer j.mu.RUnlock()
	p, ok := j.held[id]
	return fromSeconds(p.updated), ok
}

// each calls f with every upload in the journal that pick chooses.
func (j *journal) each(pick func(kept) bool, f func(resume.ID) bool) bool {
	j.mu.RLock()
	ids := make([]resume.ID, 0, len(j.held))
	for id, p := range j.held {
		if pick(p) {
			ids = append(ids, id)
		}
	}
	j.mu.RUnlock()
	for _, id := range ids {
		if !f(id) {
			return false
		}
	}
	return true
}
