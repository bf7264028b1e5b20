package filestore

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/wsingest/wsingest/resume"
)

// maxNames bounds the search for a free name.
const maxNames = 10_000

// maxName is the longest file name in bytes that common file systems take.
const maxName = 255

// numbered returns the n-th name to try for name: "a.txt", "a (1).txt", ...
func numbered(name string, n int) string {
	if n == 0 {
		return name
	}
	ext := filepath.Ext(name)
	if stem := strings.TrimSuffix(name, ext); strings.HasSuffix(stem, ".tar") {
		ext = ".tar" + ext
	}
	if ext == name {
		ext = ""
	}
	stem, number := strings.TrimSuffix(name, ext), fmt.Sprintf(" (%d)", n)
	for len(stem)+len(number)+len(ext) > maxName {
		_, size := utf8.DecodeLastRuneInString(stem)
		if size == 0 {
			break
		}
		stem = stem[:len(stem)-size]
	}
	return stem + number + ext
}

// free returns fs.ErrExist when there is something at path.
func (s *Store) free(path string) error {
	_, err := s.fs.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err == nil:
		return &fs.PathError{Op: "publish", Path: path, Err: fs.ErrExist}
	}
	return err
}

// tempPath is where a file stands for the moment before it gets its final
// name, "" when it was not being published.
func (u *upload) tempPath() string {
	if u.next.publish == nil {
		return ""
	}
	return tempName(u.id, string(u.next.publish.Path))
}

// tempName is in the directory of path, and hidden.
func tempName(id resume.ID, path string) string {
	return filepath.Join(filepath.Dir(path), ".wsingest-"+string(id)+".tmp")
}

// linkTo gives the part file path as its second name.
func (s *Store) linkTo(id resume.ID, path string, replace bool) error {
	if !replace {
		return s.fs.Link(s.partPath(id), path)
	}
	temp := tempName(id, path)
	if err := s.removeIfThere(temp); err != nil {
		return err
	}
	if err := s.fs.Link(s.partPath(id), temp); err != nil {
		return err
	}
	if err := s.fs.Rename(temp, path); err != nil {
		return errors.Join(err, s.removeIfThere(temp))
	}
	// rename(2) does nothing when both are names of one file.
	return s.removeIfThere(temp)
}

// copyTo copies the part file to path, which appears when the copy is durable.
func (s *Store) copyTo(id resume.ID, path string, replace bool) error {
	temp := tempName(id, path)
	if err := s.copyPart(id, temp); err != nil {
		return errors.Join(storageError(err), s.removeIfThere(temp))
	}
	rename := s.fs.RenameExclusive
	if replace {
		rename = s.fs.Rename
	}
	if err := rename(temp, path); err != nil {
		return errors.Join(err, s.removeIfThere(temp))
	}
	return nil
}

func (s *Store) copyPart(id resume.ID, to string) error {
	from, err := s.fs.Open(s.partPath(id), os.O_RDONLY)
	if err != nil {
		return err
	}
	defer from.Close()
	f, err := s.fs.Open(to, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
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
