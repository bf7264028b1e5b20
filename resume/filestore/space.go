package filestore

import (
	"fmt"
	"sync"

	"github.com/wsingest/wsingest/resume"
	"github.com/wsingest/wsingest/resume/filestore/internal/vfs"
)

// space knows what of the disk is spoken for: what Options.Reserve keeps free,
// and what uploads of a known length, which this process has begun and has open,
// still need where the file system cannot set it aside (on Linux it mostly can,
// and then it counts as used).
type space struct {
	fs   vfs.FS
	dir  string
	keep int64

	mu       sync.Mutex
	settled  sync.Cond // an upload's space was set aside, or not
	promised int64
	setting  int64 // is being set aside: may be used already, or not yet
}

func (s *space) init(fsys vfs.FS, dir string, keep int64) {
	s.fs, s.dir, s.keep = fsys, dir, keep
	s.settled.L = &s.mu
}

// reserve sets aside what a file needs that is to have length bytes, and has
// held of them. What it returns is promised: to be taken off as bytes come, and
// in the end.
func (s *space) reserve(part part, length, held int64) (promise int64, err error) {
	need := length - held
	if length <= 0 || need <= 0 {
		return 0, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		err := s.room(need + s.setting)
		if err == nil {
			break
		}
		if s.setting == 0 {
			return 0, err
		}
		s.settled.Wait()
	}
	s.setting += need
	s.mu.Unlock()
	aside, err := part.Reserve(length)
	s.mu.Lock()
	s.setting -= need
	s.settled.Broadcast()
	if err != nil || aside {
		return 0, storageError(err)
	}
	s.promised += need
	return need, nil
}

// take takes up to n bytes off a promise, and returns what is left of it.
func (s *space) take(promise, n int64) int64 {
	if promise == 0 {
		return 0
	}
	n = min(n, promise)
	s.mu.Lock()
	s.promised -= n
	s.mu.Unlock()
	return promise - n
}

// room reports whether n bytes that nobody set aside find room; mu is held.
func (s *space) room(n int64) error {
	free, known := s.fs.Free(s.dir)
	if known && n > free-s.keep-s.promised {
		return fmt.Errorf("%w: %d bytes are needed, %d are free, and of these %d kept and %d promised", resume.ErrNoSpace, n, free, s.keep, s.promised)
	}
	return nil
}

// Free implements [resume.FreeSpace]. What Options.Reserve keeps is part of it.
func (s *Store) Free() (bytes int64, known bool) { return s.fs.Free(s.dir) }

// roomFor is room for an upload that grows, where there is something to keep.
func (s *space) roomFor(n int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.keep == 0 && s.promised == 0 {
		return nil // the write will say
	}
	return s.room(int64(n))
}
