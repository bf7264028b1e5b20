package filestore

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/wsingest/wsingest/resume"
	"github.com/wsingest/wsingest/resume/filestore/internal/slot"
	"github.com/wsingest/wsingest/resume/filestore/internal/vfs"
)

const (
	segmentMagic   = "wsingjnl"
	segmentVersion = 1
	segmentHeader  = 40 // bytes
	segmentSuffix  = ".log"
)

// segment is a file of the journal. Only the newest is written to, and none
// that was there when the store was opened: what a crash left behind its end
// stays there.
type segment struct {
	number uint64
	salt   uint64 // begins every entry: nobody who uploads bytes can know it
	file   vfs.File
	size   int64 // set aside for it
	used   int64
	ids    []resume.ID // of what was written to it: all that may be alive in it
}

func segmentName(number uint64) string { return fmt.Sprintf("%016x%s", number, segmentSuffix) }

func segmentNumber(name string) (uint64, bool) {
	stem, ok := strings.CutSuffix(name, segmentSuffix)
	if !ok || len(stem) != 16 {
		return 0, false
	}
	n, err := strconv.ParseUint(stem, 16, 64)
	return n, err == nil
}

// createSegment makes a segment that is there after a loss of power.
func createSegment(fsys vfs.FS, dir string, number uint64, size int64) (seg *segment, err error) {
	var salt [8]byte
	rand.Read(salt[:]) // never fails
	path := filepath.Join(dir, segmentName(number))
	f, err := fsys.Open(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return nil, err
	}
	seg = &segment{number: number, salt: binary.LittleEndian.Uint64(salt[:]), file: f, size: size, used: segmentHeader}
	if _, err = f.Reserve(size); err == nil {
		_, err = f.WriteAt(seg.header(), 0)
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = fsys.SyncDir(dir)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close(), fsys.Remove(path))
	}
	return seg, nil
}

func (seg *segment) header() []byte {
	b := append(make([]byte, 0, segmentHeader), segmentMagic...)
	b = binary.LittleEndian.AppendUint32(b, segmentVersion)
	b = binary.LittleEndian.AppendUint32(b, 0)
	b = binary.LittleEndian.AppendUint64(b, seg.number)
	b = binary.LittleEndian.AppendUint64(b, seg.salt)
	b = binary.LittleEndian.AppendUint32(b, 0)
	return binary.LittleEndian.AppendUint32(b, resume.UpdateCRC32C(0, b))
}

// openSegment opens a segment and calls each with its entries, in order. One
// that was cut off before it was ready, or is damaged from the start, has none.
// anew writes all of it again and syncs it: it may be in the memory of the
// kernel only.
func openSegment(fsys vfs.FS, path string, number uint64, anew bool, each func(*segment, *entry)) (*segment, error) {
	f, err := fsys.Open(path, os.O_RDWR)
	if err != nil {
		return nil, err
	}
	seg := &segment{number: number, file: f, used: segmentHeader}
	if err := seg.read(anew, each); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return seg, nil
}

func (seg *segment) read(anew bool, each func(*segment, *entry)) error {
	info, err := seg.file.Stat()
	if err != nil {
		return err
	}
	b := make([]byte, info.Size())
	if n, err := seg.file.ReadAt(b, 0); n < len(b) && err != io.EOF {
		return err
	}
	seg.size = info.Size()
	there, err := seg.readHeader(b)
	if err != nil || !there {
		return err
	}
	entries := seg.entries(b)
	if anew {
		if _, err := seg.file.WriteAt(b[:seg.used], 0); err != nil {
			return err
		}
		if err := seg.file.Sync(); err != nil {
			return err
		}
	}
	for _, e := range entries {
		each(seg, e)
	}
	if seg.used < seg.size { // what was set aside for more
		return seg.file.Truncate(seg.used)
	}
	return nil
}

// readHeader learns the salt from b, a whole segment, and reports whether there
// is one: without, the segment was cut off by a crash before anything was in it.
// Where the header is damaged, the first entry has it too.
func (seg *segment) readHeader(b []byte) (there bool, err error) {
	if len(b) < segmentHeader {
		return false, nil
	}
	if string(b[:8]) != segmentMagic || resume.UpdateCRC32C(0, b[:36]) != binary.LittleEndian.Uint32(b[36:]) {
		first := b[segmentHeader:]
		if len(first) < entryHeader {
			return false, nil
		}
		seg.salt = binary.LittleEndian.Uint64(first)
		return parseEntry(first, seg.salt) != nil, nil
	}
	if v := binary.LittleEndian.Uint32(b[8:]); v != segmentVersion {
		return false, fmt.Errorf("%w: %d, this program knows %d", slot.ErrVersion, v, segmentVersion)
	}
	seg.salt = binary.LittleEndian.Uint64(b[24:])
	return true, nil
}

// entries finds what is whole in b. Behind what is not, it looks for the salt:
// damage costs the entries that it hit.
func (seg *segment) entries(b []byte) (found []*entry) {
	salt := binary.LittleEndian.AppendUint64(nil, seg.salt)
	for off := int64(segmentHeader); off < int64(len(b)); {
		if e := parseEntry(b[off:], seg.salt); e != nil {
			e.off = off
			off += int64(e.size())
			seg.used = off
			found = append(found, e)
			continue
		}
		next := bytes.Index(b[off+1:], salt)
		if next < 0 {
			break
		}
		off += 1 + int64(next)
	}
	return found
}
