package filestore

import (
	"encoding/binary"

	"github.com/wsingest/wsingest/resume"
)

// entry is what one upload writes to the journal at a time.
type entry struct {
	kind    entryKind
	phase   byte // of the record: the first letter of its name
	id      resume.ID
	at      int64 // where data begins in the upload
	updated int64 // seconds since 1970
	record  []byte
	data    []byte

	off  int64 // where in the segment it went
	done chan error
}

// entryKind says what an entry does to those of the same upload before it.
type entryKind byte

const (
	entryWhole entryKind = 1 // it replaces them: data is all there is
	entryMore  entryKind = 2 // its record replaces theirs, its data is added
	entryGone  entryKind = 3 // the upload is not in the journal any more
)

// entryHeader is how many bytes stand before an entry's id. FORMAT.md has them.
const entryHeader = 40

func (e *entry) size() int { return entryHeader + len(e.id) + len(e.record) + len(e.data) }

func (e *entry) recordAt() int64 { return e.off + entryHeader + int64(len(e.id)) }

func (e *entry) dataAt() int64 { return e.recordAt() + int64(len(e.record)) }

// appendTo appends the entry as it stands in a segment of that salt.
func (e *entry) appendTo(dst []byte, salt uint64) []byte {
	start := len(dst)
	dst = binary.LittleEndian.AppendUint64(dst, salt)
	dst = binary.LittleEndian.AppendUint32(dst, 0) // the checksum's place
	dst = append(dst, byte(e.kind), e.phase, byte(len(e.id)), 0)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(e.record)))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(e.data)))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(e.at))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(e.updated))
	dst = append(dst, e.id...)
	dst = append(dst, e.record...)
	dst = append(dst, e.data...)
	binary.LittleEndian.PutUint32(dst[start+8:], resume.UpdateCRC32C(0, dst[start+12:]))
	return dst
}

// entryLength returns how many bytes the entry takes whose header b begins
// with, 0 if it is none.
func entryLength(b []byte, salt uint64) int64 {
	if len(b) < entryHeader || binary.LittleEndian.Uint64(b) != salt {
		return 0
	}
	return entryHeader + int64(b[14]) + int64(binary.LittleEndian.Uint32(b[16:])) + int64(binary.LittleEndian.Uint32(b[20:]))
}

// parseEntry reads the entry that b begins with; nil if there is no whole one.
// Its parts are parts of b.
func parseEntry(b []byte, salt uint64) *entry {
	n := entryLength(b, salt)
	if n == 0 || n > int64(len(b)) || resume.UpdateCRC32C(0, b[12:n]) != binary.LittleEndian.Uint32(b[8:]) {
		return nil
	}
	e := &entry{
		kind: entryKind(b[12]), phase: b[13],
		at:      int64(binary.LittleEndian.Uint64(b[24:])),
		updated: int64(binary.LittleEndian.Uint64(b[32:])),
	}
	rest := b[entryHeader:n]
	e.id, rest = resume.ID(rest[:b[14]]), rest[b[14]:]
	records := binary.LittleEndian.Uint32(b[16:])
	e.record, e.data = rest[:records:records], rest[records:]
	return e
}
