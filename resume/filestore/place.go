package filestore

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/wsingest/wsingest/resume"
	"github.com/wsingest/wsingest/resume/filestore/internal/vfs"
)

// maxNames bounds the search for a free name.
const maxNames = 10_000

// maxName is the longest file name in bytes that common file systems take.
const maxName = 255

// free returns fs.ErrExist when the name is taken, or is that of a sidecar.
func (p place) free() error {
	taken := &fs.PathError{Op: "publish", Path: p.path, Err: fs.ErrExist}
	if p.o.Sidecar != nil && isSidecar(filepath.Base(p.path)) {
		return taken
	}
	if p.replaces() {
		return nil
	}
	names := []string{p.path}
	if p.o.Sidecar != nil {
		names = append(names, p.path+resume.SidecarSuffix)
	}
	for _, name := range names {
		switch _, err := p.s.fs.Stat(name); {
		case err == nil:
			return taken
		case !errors.Is(err, fs.ErrNotExist):
			return err
		}
	}
	return nil
}

// leftovers are the hidden names that a publication may have left, in the
// directory it was for.
func (u *upload) leftovers() []string {
	p := u.next.publish
	switch {
	case p == nil:
		return nil
	case p.Sidecar == nil:
		return []string{tempName(u.id, string(p.Path))}
	}
	return []string{tempName(u.id, string(p.Path)), sidecarTemp(u.id, string(p.Path))}
}

// tempName is where a file stands for the moment before it gets its final name:
// in the directory of path, and hidden.
func tempName(id resume.ID, path string) string {
	return filepath.Join(filepath.Dir(path), ".wsingest-"+string(id)+".tmp")
}

// place is where the part file of an upload is put, and how.
type place struct {
	s    *Store
	id   resume.ID
	path string
	o    resume.PublishOptions
}

func (p place) temp() string { return tempName(p.id, p.path) }

func (p place) replaces() bool { return p.o.Conflict == resume.ConflictOverwrite }

// atOnce: there is nothing to do between a link and the file's appearance.
func (p place) atOnce() bool {
	return !p.replaces() && !p.owns() && p.o.Sidecar == nil
}

func (p place) owns() bool { return p.o.Mode != 0 || p.o.Owner != nil }

// link gives the part file its second name: the temporary one, unless it may
// appear at once.
func (p place) link() error {
	if p.atOnce() {
		return p.s.fs.Link(p.s.partPath(p.id), p.path)
	}
	if err := p.s.removeIfThere(p.temp()); err != nil {
		return err
	}
	return p.s.fs.Link(p.s.partPath(p.id), p.temp())
}

// copy copies the part file to the temporary name, durably.
func (p place) copy() error {
	if err := p.s.removeIfThere(p.temp()); err != nil {
		return err
	}
	if err := p.s.copyPart(p.id, p.temp()); err != nil {
		return errors.Join(storageError(err), p.s.removeIfThere(p.temp()))
	}
	return nil
}

// show makes what has the temporary name appear, with all that it is to have.
func (p place) show(copied bool) error {
	err := p.own(p.temp())
	if err == nil && p.o.Sidecar != nil {
		err = p.putSidecar()
	}
	if err == nil {
		switch {
		case p.replaces():
			err = p.s.fs.Rename(p.temp(), p.path)
		case copied || p.o.Owner != nil: // Linux gives no second name to what is another's
			err = p.s.fs.RenameExclusive(p.temp(), p.path)
		default:
			err = p.s.fs.Link(p.temp(), p.path)
		}
	}
	// rename(2) does nothing when both are names of one file.
	left := p.s.removeIfThere(p.temp())
	if err == nil { // it is there for all to see: what is left goes with the upload's bytes
		return nil
	}
	return errors.Join(err, left)
}

// own gives the file at path its mode and its owner.
func (p place) own(path string) error {
	if !p.owns() {
		return nil
	}
	f, err := p.s.fs.Open(path, os.O_RDONLY)
	if err != nil {
		return err
	}
	return errors.Join(p.ownFile(f), f.Close())
}

func (p place) ownFile(f vfs.File) error {
	owner := resume.FileOwner{UID: -1, GID: -1}
	if p.o.Owner != nil {
		owner = *p.o.Owner
	}
	return f.Own(p.o.Mode, owner.UID, owner.GID)
}

func (s *Store) copyPart(id resume.ID, to string) error {
	from, err := s.fs.Open(s.partPath(id), os.O_RDONLY)
	if err != nil {
		return err
	}
	defer from.Close()
	f, err := s.fs.Open(to, os.O_RDWR|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return err
	}
	buf := hashBuffers.Get().(*[hashBlock]byte)
	defer hashBuffers.Put(buf)
	_, err = io.CopyBuffer(io.NewOffsetWriter(f, 0), onlyReader{io.NewSectionReader(from, 0, 1<<62)}, buf[:])
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// onlyReader hides a WriteTo that would not use our buffer.
type onlyReader struct{ io.Reader }

func (s *Store) removeIfThere(path string) error {
	if err := s.fs.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// isPartAt reports whether path is a name of the part file.
func (s *Store) isPartAt(id resume.ID, path string) (bool, error) {
	at, err := s.fs.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	part, err := s.fs.Stat(s.partPath(id))
	if err != nil {
		return false, err
	}
	return s.fs.SameFile(part, at), nil
}

// hasContent reports whether the file at path has a length and a checksum.
func (s *Store) hasContent(path string, length int64, crc uint32) (bool, error) {
	f, err := s.fs.Open(path, os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.Size() != length {
		return false, err
	}
	buf := hashBuffers.Get().(*[hashBlock]byte)
	defer hashBuffers.Put(buf)
	var sum crcWriter
	_, err = io.CopyBuffer(&sum, onlyReader{io.NewSectionReader(f, 0, length)}, buf[:])
	return err == nil && uint32(sum) == crc, err
}

type crcWriter uint32

func (w *crcWriter) Write(p []byte) (int, error) {
	*w = crcWriter(resume.UpdateCRC32C(uint32(*w), p))
	return len(p), nil
}
