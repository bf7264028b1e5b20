package filestore

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/wsingest/wsingest/resume"
	"github.com/wsingest/wsingest/resume/filestore/internal/vfs"
)

// What opening a store or one of its uploads may find, to be tested with
// errors.Is.
var (
	// ErrInUse: another process, or another Store of this one, has the
	// directory.
	ErrInUse = errors.New("directory is in use")
	// ErrDamaged: the files of an upload are not what the store wrote. They are
	// left as they are, until they expire or are deleted.
	ErrDamaged = errors.New("upload's files are damaged")
)

// commitsAtOnce bounds the syncs under way, those that somebody waits for and
// the others each. Each holds a thread, and a file system orders them anyway:
// on two cores, a thousand uploads were taken in nearly twice as fast with 8
// at once as with 64, and were durable after 2.9 s and not 1.8 s. Those that
// wait gather more bytes meanwhile.
func commitsAtOnce() int { return min(max(8, 4*runtime.GOMAXPROCS(0)), 64) }

// Store is a [resume.Publisher] on a directory. Use [New].
type Store struct {
	dir  string
	opts Options
	fs   vfs.FS
	log  *zap.Logger
	lock vfs.File
	// suspicious: the last process to use the directory did not close it, so
	// records may be in the kernel's memory only.
	suspicious bool

	commits  chan struct{} // as many tokens as syncs may be under way
	urgent   chan struct{} // the same of those that somebody waits for
	removals chan struct{} // as many tokens as settled uploads are removed behind their answers
	hashing  chan struct{} // as many tokens as blocks may be hashed at once
	block    int64         // bytes of such a block; hashBlock but in tests
	names    dirSync
	space    space
	janitor  janitor

	journal   atomic.Pointer[journal] // nil until there is one
	begin     sync.Mutex              // held to begin it
	noJournal bool                    // it cannot be; guarded by begin
	small     int64                   // length up to which uploads live in it; smallUpload but in tests
	buffered  atomic.Int64            // bytes of small uploads in memory

	mu      sync.Mutex // a leaf: nothing else is locked while it is held
	uploads map[resume.ID]*upload
	suspect map[resume.ID]bool // whose last sync failed in this process
	closed  bool
	drained chan struct{} // closed when closed and no upload is left in memory
}

var (
	_ resume.Publisher   = (*Store)(nil)
	_ resume.FreeSpace   = (*Store)(nil)
	_ resume.FileContent = (*content)(nil)
)

// New opens the store in dir, creating the directory if it is not there. It
// does not look at the uploads that have files, so it takes no longer with many.
// It reads the journal of small ones, which takes a millisecond for a few
// hundred.
//
// It fails with ErrInUse when another Store has the directory.
func New(dir string, o Options) (*Store, error) { return open(vfs.OS{}, dir, o) }

func open(fsys vfs.FS, dir string, o Options) (*Store, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	dir, err = filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("filestore: %w", err)
	}
	if err := makeDir(fsys, dir); err != nil {
		return nil, fmt.Errorf("filestore: %w", err)
	}
	if err := fsys.List(dir, func(string) bool { return false }); err != nil {
		return nil, fmt.Errorf("filestore: directory %s cannot be read: %w", dir, err)
	}
	s := &Store{
		dir: dir, opts: o, fs: fsys,
		log:      o.Logger,
		commits:  make(chan struct{}, commitsAtOnce()),
		urgent:   make(chan struct{}, commitsAtOnce()),
		hashing:  make(chan struct{}, max(2, runtime.GOMAXPROCS(0))),
		block:    hashBlock,
		small:    smallUpload,
		uploads:  make(map[resume.ID]*upload),
		suspect:  make(map[resume.ID]bool),
		drained:  make(chan struct{}),
		removals: make(chan struct{}, maxRemovals),
	}
	s.space.init(fsys, dir, o.Reserve)
	s.names.sync = func() error { return fsys.SyncDir(dir) }
	if err := s.takeLock(); err != nil {
		return nil, err
	}
	s.startJanitor()
	return s, nil
}

const (
	partSuffix  = ".part"
	stateSuffix = ".state"
)

func (s *Store) partPath(id resume.ID) string {
	return filepath.Join(s.dir, string(id)+partSuffix)
}

func (s *Store) statePath(id resume.ID) string {
	return filepath.Join(s.dir, string(id)+stateSuffix)
}

// Stat implements [resume.Store].
func (s *Store) Stat(ctx context.Context, id resume.ID) (resume.State, error) {
	u, err := s.acquire(ctx, id)
	if err != nil {
		return resume.State{}, err
	}
	defer u.release()
	u.mu.Lock()
	defer u.unlock()
	if !u.exists {
		return resume.State{}, u.wrap(resume.ErrNotFound)
	}
	return u.state(), nil
}

// All implements [resume.Store]. An upload that cannot be read is yielded as
// an error that names it, and the iteration goes on.
func (s *Store) All(ctx context.Context) iter.Seq2[resume.State, error] {
	return func(yield func(resume.State, error) bool) {
		seen := make(map[resume.ID]bool)
		each := func(id resume.ID) bool {
			if seen[id] {
				return true
			}
			seen[id] = true
			st, err := s.Stat(ctx, id)
			if errors.Is(err, resume.ErrNotFound) {
				return true // removed meanwhile
			}
			return yield(st, err)
		}
		// Those in memory first: the newest have no state file yet.
		for _, id := range s.loaded() {
			if !each(id) {
				return
			}
		}
		if j := s.journal.Load(); j != nil && !j.each(func(kept) bool { return true }, each) {
			return
		}
		err := s.fs.List(s.dir, func(name string) bool {
			id, ok := idOf(name, stateSuffix)
			return !ok || each(id)
		})
		if err != nil {
			yield(resume.State{}, fmt.Errorf("filestore: %w", err))
		}
	}
}

func idOf(name, suffix string) (resume.ID, bool) {
	stem, ok := strings.CutSuffix(name, suffix)
	if !ok {
		return "", false
	}
	id, err := resume.ParseID(stem)
	return id, err == nil
}

// Close implements [resume.Store]. It waits for the disk.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		<-s.drained
		return nil
	}
	s.closed = true
	all := make([]*upload, 0, len(s.uploads))
	for _, u := range s.uploads {
		all = append(all, u)
	}
	if len(all) == 0 {
		close(s.drained)
	}
	s.mu.Unlock()

	s.janitor.stop()
	var errs []error
	for _, u := range all {
		u.mu.Lock()
		u.endClaims(resume.Everything, resume.ErrClosed)
		u.hurry()
		u.unlock()
	}
	<-s.drained
	for _, u := range all {
		if u.dead != nil && !errors.Is(u.dead, resume.ErrNotFound) {
			errs = append(errs, u.wrap(u.dead))
		}
	}
	unsure := s.suspicious || len(s.suspect) > 0
	if j := s.journal.Load(); j != nil {
		errs = append(errs, j.close())
		unsure = unsure || j.unsure
	}
	if !unsure {
		// Only a hint, and without it the next start is merely slower.
		_ = writeLock(s.lock, clean)
	}
	return errors.Join(append(errs, s.lock.Close())...)
}

func (s *Store) loaded() []resume.ID {
	s.mu.Lock()
	defer s.mu.Unlock()
	ids := make([]resume.ID, 0, len(s.uploads))
	for id := range s.uploads {
		ids = append(ids, id)
	}
	return ids
}

func (s *Store) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

func now() time.Time { return time.Now() }
