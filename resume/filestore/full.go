package filestore

import (
	"context"
	"fmt"
	"time"

	"github.com/wsingest/wsingest/resume"
	"github.com/wsingest/wsingest/resume/filestore/internal/vfs"
)

// A sync may find that there is no room for bytes that were written before: the
// file system, or the disk below it, had not looked for their place yet. The
// kernel takes their pages for clean then, and may drop them: another sync would
// succeed and do nothing. So the bytes are read back and written anew before it.
// That they are still the same, their checksums say; where they are not, nothing
// helps but to have the client send them again.

// fullRetry is how often a commit is tried again that found no room. A variable for tests alone.
var fullRetry = time.Second

// unsynced is the error of a sync of bytes, which are all in the file, or were.
type unsynced struct{ error }

func (e *unsynced) Unwrap() error { return e.error }

// awaitWriters returns when no write is under way, while there is no room: none
// begins then, and what is written anew is all there is.
func (u *upload) awaitWriters() {
	for u.commit.full && u.dead == nil && u.writing(resume.Everything) {
		_ = u.wait(context.Background())
	}
}

// rewrite writes anew what was received and is not durable, and compares it with
// its checksums.
func rewrite(part vfs.File, received, durable resume.Extents) error {
	buf := hashBuffers.Get().(*[hashBlock]byte)
	defer hashBuffers.Put(buf)
	for _, e := range received {
		crc := uint32(0)
		for off := e.Start; off < e.End; {
			if d, ok := extentAt(durable, off); ok {
				crc = resume.CombineCRC32C(crc, d.CRC32C, d.End-d.Start)
				off = d.End
				continue
			}
			p := buf[:min(durable.NextFrom(off), e.End, off+int64(len(buf)))-off]
			if n, _ := part.ReadAt(p, off); n < len(p) {
				return dropped(e)
			}
			crc = resume.UpdateCRC32C(crc, p)
			if _, err := part.WriteAt(p, off); err != nil {
				return err
			}
			off += int64(len(p))
		}
		if crc != e.CRC32C {
			return dropped(e)
		}
	}
	return nil
}

func dropped(e resume.Extent) error {
	return fmt.Errorf("%w: of the bytes %v some were dropped, for which a sync found no room", resume.ErrNoSpace, e.Range)
}

func extentAt(x resume.Extents, off int64) (resume.Extent, bool) {
	for _, e := range x {
		if e.Start == off {
			return e, true
		}
	}
	return resume.Extent{}, false
}
