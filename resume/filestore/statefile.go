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
func openState(fsys vfs.FS, path string, flag int) (j *stateFile, payload []byte, err error) {
	f, err := fsys.Open(path, flag)
	if err != nil {
		return nil, nil, err
	}
	j = &stateFile{file: f}
	if payload, err = j.recover(); err != nil {
		f.Close()
		return nil, nil, err
	}
	return j, payload, nil
}

// recover finds the newest whole slot.
func (j *stateFile) recover() (newest []byte, err error) {
	var empty, damaged int
	for i := range slot.Count {
		b, err := j.readSlot(int64(i) * slot.Size)
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
		case seq > j.seq:
			j.seq, j.buf, newest = seq, b[:slot.Length(b)], payload
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
func (j *stateFile) readSlot(off int64) ([]byte, error) {
	b := make([]byte, 4096)
	n, err := j.file.ReadAt(b, off)
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
	k, err := j.file.ReadAt(rest[n:], off+int64(n))
	if err != nil && err != io.EOF {
		return nil, err
	}
	return rest[:n+k], nil
}

// append writes the next record, durably. After an error the file is of no
// more use.
func (j *stateFile) append(payload []byte) (err error) {
	if j.buf, err = slot.Append(j.buf[:0], j.seq+1, payload); err != nil {
		return err
	}
	if err := j.write(j.seq + 1); err != nil {
		return err
	}
	j.seq++
	return nil
}

// affirm makes the record that was read durable. It may have come from the
// memory of a kernel whose disk has not seen it: a process that was killed
// before its fdatasync, or one that failed. The slot is written anew, since
// after a failed fdatasync the kernel takes its pages for clean.
func (j *stateFile) affirm() error {
	if j.seq == 0 {
		return nil
	}
	return j.write(j.seq)
}

func (j *stateFile) write(seq uint64) error {
	if _, err := j.file.WriteAt(j.buf, slot.Offset(seq)); err != nil {
		return &unwritten{err}
	}
	err := j.file.Sync()
	if vfs.IsFull(err) {
		return &unwritten{err}
	}
	return err
}

// unwritten is the error of a record that is not on the disk, or perhaps, or not
// as a whole: the one before it holds, and its slot may be written again.
type unwritten struct{ error }

func (e *unwritten) Unwrap() error { return e.error }

func (j *stateFile) close() {
	if j != nil {
		j.file.Close()
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
