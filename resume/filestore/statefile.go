package filestore

import (
	"errors"
	"io"
	"os"

	"github.com/wsingest/wsingest/resume/filestore/internal/slot"
	"github.com/wsingest/wsingest/resume/filestore/internal/vfs"
)

// stateFile is an open state file.
type stateFile struct {
	file vfs.File
	seq  uint64 // of the newest whole slot, 0 when there is none
	buf  []byte // of the newest slot as it was read, or scratch
}

// openState opens a state file and reads its newest record. A file without a
// record, because the very first was cut off by a crash, has a nil payload.
func openState(fsys vfs.FS, path string, flag int) (s *stateFile, payload []byte, err error) {
	f, err := fsys.Open(path, flag)
	if err != nil {
		return nil, nil, err
	}
	s = &stateFile{file: f}
	if payload, err = s.recover(); err != nil {
		f.Close()
		return nil, nil, err
	}
	return s, payload, nil
}

// recover finds the newest whole slot.
func (s *stateFile) recover() (newest []byte, err error) {
	var empty, damaged int
	for i := range slot.Count {
		b, err := s.readSlot(int64(i) * slot.Size)
		if err != nil {
			return nil, err
		}
		seq, payload, err := slot.Decode(b)
		switch {
		case errors.Is(err, slot.ErrVersion):
			return nil, err
		case errors.Is(err, slot.ErrEmpty):
			empty++
		case err != nil || seq == 0 || slot.Offset(seq) != int64(i)*slot.Size:
			damaged++
		case seq > s.seq:
			s.seq, s.buf, newest = seq, b[:slot.Length(b)], payload
		}
	}
	// The first record of an upload goes to the first slot, and nothing is
	// reported before it is whole. Anything else without a whole slot was whole
	// once.
	if newest == nil && damaged > 0 && empty == 0 {
		return nil, ErrDamaged
	}
	return newest, nil
}

// readSlot reads a slot as far as its header says. Most fit into the first
// page.
func (s *stateFile) readSlot(off int64) ([]byte, error) {
	b := make([]byte, 4096)
	n, err := s.file.ReadAt(b, off)
	if err != nil && err != io.EOF {
		return nil, err
	}
	b = b[:n]
	full := slot.Length(b)
	if full <= n {
		return b, nil
	}
	rest := make([]byte, full)
	copy(rest, b)
	k, err := s.file.ReadAt(rest[n:], off+int64(n))
	if err != nil && err != io.EOF {
		return nil, err
	}
	return rest[:n+k], nil
}

// append writes the next record, durably. After an error the file is of no
// more use.
func (s *stateFile) append(payload []byte) (err error) {
	if s.buf, err = slot.Append(s.buf[:0], s.seq+1, payload); err != nil {
		return err
	}
	if err := s.write(s.seq + 1); err != nil {
		return err
	}
	s.seq++
	return nil
}

// affirm makes the record that was read durable. It may have come from the
// memory of a kernel whose disk has not seen it: a process that was killed
// before its fdatasync, or one that failed. The slot is written anew, since
// after a failed fdatasync the kernel takes its pages for clean.
func (s *stateFile) affirm() error {
	if s.seq == 0 {
		return nil
	}
	return s.write(s.seq)
}

func (s *stateFile) write(seq uint64) error {
	if _, err := s.file.WriteAt(s.buf, slot.Offset(seq)); err != nil {
		return &unwritten{err}
	}
	err := s.file.Sync()
	if vfs.IsFull(err) {
		return &unwritten{err}
	}
	return err
}

// unwritten is the error of a record that is not on the disk, or perhaps, or not
// as a whole: the one before it holds, and its slot may be written again.
type unwritten struct{ error }

func (e *unwritten) Unwrap() error { return e.error }

func (s *stateFile) close() {
	if s != nil {
		s.file.Close()
	}
}

// createState opens the state file of an upload that has no record yet. The
// first page of the second slot is taken from the disk now, as the first record
// does it for the first: an upload that has its place goes on to its end on a
// disk that others have filled.
func createState(fsys vfs.FS, path string) (*stateFile, error) {
	f, err := fsys.Open(path, os.O_RDWR|os.O_CREATE)
	if err != nil {
		return nil, &unwritten{err}
	}
	if _, err := f.WriteAt(make([]byte, 4096), slot.Size); err != nil {
		f.Close()
		return nil, &unwritten{err}
	}
	return &stateFile{file: f}, nil
}
