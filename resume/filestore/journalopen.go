package filestore

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"go.uber.org/zap"
)

// journalName is the directory that the segments are in, and the lock of a
// directory that has a journal.
const journalName = "journal"

// useJournal returns the journal, which it begins with the first small upload.
// nil: there can be none here, and uploads live in files of their own.
func (s *Store) useJournal() *journal {
	if j := s.journal.Load(); j != nil {
		return j
	}
	s.begin.Lock()
	defer s.begin.Unlock()
	if j := s.journal.Load(); j != nil || s.noJournal {
		return j
	}
	err := s.beginJournal()
	if err != nil {
		s.noJournal = true
		s.log.Warn("no journal can be kept here: small uploads are files, and slower", zap.Error(err))
	}
	return s.journal.Load()
}

// beginJournal makes the directory one that an older version of this program
// cannot open: it would not see what is in the journal. The lock moves next to
// the journal, still held, and what such a version would lock is a directory.
// Between the two, for a few microseconds in the life of a store, a process that
// is started finds nothing locked.
func (s *Store) beginJournal() error {
	lock, moved := filepath.Join(s.dir, lockName), filepath.Join(s.dir, journalName, lockName)
	if err := s.fs.Mkdir(filepath.Join(s.dir, journalName)); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := s.fs.Rename(lock, moved); err != nil {
		return err // as on Windows, where nobody renames what is open
	}
	if err := s.fs.Mkdir(lock); err != nil {
		return errors.Join(err, s.fs.Rename(moved, lock)) // where the next process looks for it
	}
	if err := s.fs.SyncDir(s.dir); err != nil {
		return err
	}
	return s.openJournal()
}

// openJournal reads what is in the journal. What may be in the memory of the
// kernel only is made durable, names included: it may be told of.
func (s *Store) openJournal() error {
	j := newJournal(s.fs, filepath.Join(s.dir, journalName), s.log)
	if s.suspicious {
		if err := s.fs.SyncDir(j.dir); err != nil {
			return fmt.Errorf("journal: %w", err)
		}
	}
	if err := j.recover(s.suspicious); err != nil {
		for _, seg := range j.segments {
			seg.file.Close()
		}
		return fmt.Errorf("journal: %w", err)
	}
	s.journal.Store(j)
	return nil
}

func (j *journal) recover(anew bool) error {
	var numbers []uint64
	err := j.fs.List(j.dir, func(name string) bool {
		if n, ok := segmentNumber(name); ok {
			numbers = append(numbers, n)
		}
		return true
	})
	if err != nil {
		return err
	}
	slices.Sort(numbers)
	for _, n := range numbers {
		seg, err := openSegment(j.fs, j.path(n), n, anew, j.note)
		if err != nil {
			return err
		}
		j.segments, j.last = append(j.segments, seg), n
	}
	return nil
}
