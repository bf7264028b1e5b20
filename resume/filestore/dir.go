package filestore

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/wsingest/wsingest/resume/filestore/internal/vfs"
)

// makeDir creates dir and what is missing above it, durably.
func makeDir(fsys vfs.FS, dir string) error {
	info, err := fsys.Stat(dir)
	if err == nil && info.Mode()&fs.ModeSymlink != 0 {
		return nil // whatever it leads to, List and Lock will say
	}
	switch {
	case err == nil && info.IsDir():
		// A process that was killed may have made it a moment ago. Where the
		// directory above may not be read, somebody else made this one.
		_ = fsys.SyncDir(filepath.Dir(dir))
		return nil
	case err == nil:
		return fmt.Errorf("%s is not a directory", dir)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	parent := filepath.Dir(dir)
	if parent == dir {
		return err
	}
	if err := makeDir(fsys, parent); err != nil {
		return err
	}
	if err := fsys.Mkdir(dir); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return fsys.SyncDir(parent)
}

const (
	lockName = ".lock"
	clean    = "clean"
)

// takeLock makes the directory this store's own. The lock file says who has
// it, and whether the last holder closed it in order.
func (s *Store) takeLock() error {
	path := filepath.Join(s.dir, lockName)
	f, err := s.fs.Lock(path)
	if errors.Is(err, vfs.ErrLocked) {
		return fmt.Errorf("filestore: %w: %s belongs to %s; stop it, or give each process a directory of its own",
			ErrInUse, s.dir, s.holder(path))
	}
	if err != nil {
		return fmt.Errorf("filestore: directory %s cannot be written: %w", s.dir, err)
	}
	s.lock = f
	was := readSmall(f)
	s.suspicious = was != "" && was != clean
	if err := s.writeLock(fmt.Sprintf("process %d", os.Getpid())); err != nil {
		f.Close()
		return fmt.Errorf("filestore: directory %s cannot be written: %w", s.dir, err)
	}
	return nil
}

// writeLock is never synced: after a loss of power there is no kernel left
// whose memory could hold more than the disk.
func (s *Store) writeLock(text string) error {
	if err := s.lock.Truncate(0); err != nil {
		return err
	}
	_, err := s.lock.WriteAt([]byte(text), 0)
	return err
}

func (s *Store) holder(path string) string {
	f, err := s.fs.Open(path, os.O_RDONLY)
	if err != nil {
		return "another process"
	}
	defer f.Close()
	if who := readSmall(f); who != "" && who != clean {
		return who
	}
	return "another process"
}

func readSmall(f vfs.File) string {
	var b [64]byte
	n, err := f.ReadAt(b[:], 0)
	if err != nil && err != io.EOF {
		return ""
	}
	return string(b[:n])
}
