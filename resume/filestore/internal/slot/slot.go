// Package slot is the frame around a record in a state file: what tells a
// whole one from a torn one. FORMAT.md has the layout and the reasons.
package slot

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// The layout of a state file. FORMAT.md documents each; a test holds it to
// these.
const (
	Magic      = "wsingest"
	Version    = 1
	Count      = 2         // slots in a file, written in turn
	Size       = 256 << 10 // bytes from the start of one slot to the next
	HeaderSize = 32
	MaxPayload = Size - HeaderSize
)

// What [Decode] finds instead of a record.
var (
	// ErrEmpty: nothing was ever written here.
	ErrEmpty = errors.New("empty slot")
	// ErrDamaged: what is here is not what was written.
	ErrDamaged = errors.New("damaged slot")
	// ErrVersion: the slot is whole, and of a version this program does not
	// know.
	ErrVersion = errors.New("unknown version")
)

var table = crc32.MakeTable(crc32.Castagnoli)

// Offset returns where in the file the record of a sequence number goes. The
// first is number 1.
func Offset(seq uint64) int64 { return int64((seq-1)%Count) * Size }

// Append appends the slot that frames payload to dst.
func Append(dst []byte, seq uint64, payload []byte) ([]byte, error) {
	if len(payload) > MaxPayload {
		return dst, fmt.Errorf("record has %d bytes, at most %d fit", len(payload), MaxPayload)
	}
	start := len(dst)
	dst = append(dst, Magic...)
	dst = binary.LittleEndian.AppendUint32(dst, Version)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(payload)))
	dst = binary.LittleEndian.AppendUint64(dst, seq)
	dst = binary.LittleEndian.AppendUint32(dst, 0)
	crc := crc32.Update(crc32.Checksum(dst[start:], table), table, payload)
	dst = binary.LittleEndian.AppendUint32(dst, crc)
	return append(dst, payload...), nil
}

// Length returns how many bytes of b, at least HeaderSize, the slot takes, as
// its header has it, and 0 when b does not begin like a slot.
func Length(b []byte) int {
	if len(b) < HeaderSize || string(b[:8]) != Magic {
		return 0
	}
	n := binary.LittleEndian.Uint32(b[12:])
	if n > MaxPayload {
		return 0
	}
	return HeaderSize + int(n)
}

// Decode returns the record in b, which begins at a slot and may reach past
// it. The payload is a part of b.
func Decode(b []byte) (seq uint64, payload []byte, err error) {
	n := Length(b)
	switch {
	case n == 0 && len(bytes.TrimLeft(b[:min(len(b), HeaderSize)], "\x00")) == 0:
		return 0, nil, ErrEmpty
	case n == 0 || n > len(b):
		return 0, nil, ErrDamaged
	}
	payload = b[HeaderSize:n]
	crc := crc32.Update(crc32.Checksum(b[:28], table), table, payload)
	if crc != binary.LittleEndian.Uint32(b[28:]) {
		return 0, nil, ErrDamaged
	}
	// The version is believed only now: a damaged one must not look like a file
	// of the future.
	if v := binary.LittleEndian.Uint32(b[8:]); v != Version {
		return 0, nil, fmt.Errorf("%w: %d, this program knows %d", ErrVersion, v, Version)
	}
	return binary.LittleEndian.Uint64(b[16:]), payload, nil
}
