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
	path, _, err := s.lockPath()
	if err != nil {
		return fmt.Errorf("filestore: directory %s cannot be written: %w", s.dir, err)
	}
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
	s.suspicious = was != "" && was != clean || was == "" && s.there(filepath.Join(s.dir, journalName))
	if err := s.takeJournal(); err != nil {
		f.Close()
		return fmt.Errorf("filestore: %w", err)
	}
	return nil
}

// takeJournal opens the journal if there is one: who had the lock may have begun
// it until a moment ago. The names in the directory are made durable before: of
// who was killed, what it removed may not be gone for good, and of who ended in
// order, the journal may have no durable name, since that failed.
func (s *Store) takeJournal() error {
	if err := writeLock(s.lock, holding()); err != nil {
		return fmt.Errorf("directory %s cannot be written: %w", s.dir, err)
	}
	_, inJournal, err := s.lockPath()
	if err == nil && (inJournal || s.suspicious) {
		err = s.fs.SyncDir(s.dir)
	}
	if err == nil && inJournal {
		err = s.openJournal()
	}
	return err
}

// lockPath is what the process that uses the directory has locked: with a
// journal, a file beside that, since .lock is a directory then (beginJournal).
func (s *Store) lockPath() (path string, inJournal bool, err error) {
	path = filepath.Join(s.dir, lockName)
	info, err := s.fs.Stat(path)
	if err != nil || !info.IsDir() {
		return path, false, nil
	}
	dir := filepath.Join(s.dir, journalName)
	if err := s.fs.Mkdir(dir); err == nil { // its name was lost in a crash, and nothing was in it
		if err := s.fs.SyncDir(s.dir); err != nil {
			return "", false, err
		}
	} else if !errors.Is(err, fs.ErrExist) {
		return "", false, err
	}
	return filepath.Join(dir, lockName), true, nil
}

func holding() string { return fmt.Sprintf("process %d", os.Getpid()) }

// writeLock is never synced: after a loss of power there is no kernel left
// whose memory could hold more than the disk. It cuts last: an empty lock file
// would be that of a new directory.
func writeLock(lock vfs.File, text string) error {
	if _, err := lock.WriteAt([]byte(text), 0); err != nil {
		return err
	}
	return lock.Truncate(int64(len(text)))
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
