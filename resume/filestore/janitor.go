package filestore

import (
	"context"
	"errors"
	"io/fs"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/wsingest/wsingest/resume"
)

// orphanAge is how old bytes without a record must be to be taken for what a
// crash left behind. A living process commits its first record within a
// minute (the longest SyncInterval), or has the upload in memory.
const orphanAge = time.Hour

// janitor removes what has expired. Between scans it is a timer, no goroutine.
type janitor struct {
	mu      sync.Mutex
	timer   *time.Timer
	stopped bool
	scans   sync.WaitGroup
	cancel  context.CancelFunc
	telling sync.Mutex // OnExpire is told of one upload at a time
}

func (s *Store) startJanitor() {
	ctx, cancel := context.WithCancel(context.Background())
	s.janitor.cancel = cancel
	if s.opts.ScanInterval > 0 {
		s.janitor.schedule(s, ctx)
	}
}

func (j *janitor) schedule(s *Store, ctx context.Context) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.stopped {
		return
	}
	j.scans.Add(1)
	j.timer = time.AfterFunc(s.opts.ScanInterval, func() {
		defer j.scans.Done()
		s.scan(ctx)
		j.schedule(s, ctx)
	})
}

func (j *janitor) stop() {
	j.cancel()
	j.mu.Lock()
	j.stopped = true
	if j.timer != nil && j.timer.Stop() {
		j.scans.Done()
	}
	j.mu.Unlock()
	j.scans.Wait()
}

// scan looks through the directory once.
func (s *Store) scan(ctx context.Context) {
	err := s.fs.List(s.dir, func(name string) bool {
		if id, ok := idOf(name, stateSuffix); ok {
			s.expire(ctx, id)
		} else if id, ok := idOf(name, partSuffix); ok && !s.there(s.statePath(id)) {
			s.removeOrphan(ctx, id)
		}
		return ctx.Err() == nil
	})
	if err != nil && ctx.Err() == nil {
		s.log.Error("cannot look for expired uploads", zap.String("dir", s.dir), zap.Error(err))
	}
	s.scanJournal(ctx)
}

// expireAtOnce bounds the goroutines of scanJournal: fewer would make more trips
// to the disk.
const expireAtOnce = 64

// scanJournal does the same in the journal, many at a time: they share their
// trips to the disk.
func (s *Store) scanJournal(ctx context.Context) {
	j := s.journal.Load()
	if j == nil {
		return
	}
	var removals sync.WaitGroup
	defer removals.Wait()
	atOnce := make(chan struct{}, expireAtOnce)
	j.each(s.overdue, func(id resume.ID) bool {
		atOnce <- struct{}{}
		removals.Go(func() {
			defer func() { <-atOnce }()
			s.expireOne(ctx, id)
		})
		return ctx.Err() == nil
	})
}

// overdue reports whether an upload in the journal has expired, unless somebody
// has it open.
func (s *Store) overdue(p kept) bool {
	d := Never
	switch p.phase {
	case resume.Receiving[0]:
		d = s.opts.ExpireUnfinished
	case resume.Delivered[0]:
		d = s.opts.ExpireDelivered
	}
	return d >= 0 && now().Sub(fromSeconds(p.updated)) >= d
}

// expire removes an upload if its time has come. Most are ruled out by the age
// of their state file, without being opened.
func (s *Store) expire(ctx context.Context, id resume.ID) {
	limit := s.opts.ExpireUnfinished
	if !s.there(s.partPath(id)) {
		limit = s.opts.ExpireDelivered
	}
	if !s.older(s.statePath(id), limit) {
		return
	}
	s.expireOne(ctx, id)
}

func (s *Store) expireOne(ctx context.Context, id resume.ID) {
	u, err := s.acquire(ctx, id)
	if err != nil {
		s.expireDamaged(ctx, id, err)
		return
	}
	defer u.release()
	expired := func() bool {
		d := s.opts.expiry(u.next.phase)
		return d >= 0 && len(u.claims) == 0 && !u.commit.dirty && now().Sub(u.updated) >= d
	}
	u.mu.Lock()
	exists, st, due := u.exists, u.state(), expired()
	u.unlock()
	if !exists {
		s.removeOrphan(ctx, id)
		return
	}
	if !due {
		return
	}
	switch err := u.delete(ctx, expired); {
	case err == nil:
		u.log.Info("upload expired", zap.String("phase", string(st.Phase)), zap.Time("updated", st.Updated))
		if s.opts.OnExpire != nil {
			s.janitor.telling.Lock()
			defer s.janitor.telling.Unlock()
			s.opts.OnExpire(st)
		}
	case !errors.Is(err, errKept) && !errors.Is(err, resume.ErrNotFound) && ctx.Err() == nil:
		u.log.Warn("expired upload cannot be removed", zap.Error(err))
	}
}

// expireDamaged removes files that make no upload any more, like one that was
// abandoned. Those of an unknown version are somebody else's to remove.
func (s *Store) expireDamaged(ctx context.Context, id resume.ID, err error) {
	log := s.log.With(zap.String("upload", string(id)))
	if !errors.Is(err, ErrDamaged) || s.opts.ExpireUnfinished < 0 || !s.unchanged(id, s.opts.ExpireUnfinished) {
		if ctx.Err() == nil && !errors.Is(err, resume.ErrClosed) {
			log.Warn("upload cannot be read", zap.Error(err))
		}
		return
	}
	if err := s.Delete(ctx, id); err == nil {
		log.Info("damaged upload expired", zap.Error(err))
	}
}

// unchanged reports whether the record of an upload, readable or not, was written
// more than d ago.
func (s *Store) unchanged(id resume.ID, d time.Duration) bool {
	j := s.journal.Load()
	if j == nil || s.there(s.statePath(id)) {
		return s.older(s.statePath(id), d)
	}
	at, ok := j.updated(id)
	return ok && now().Sub(at) >= d
}

// removeOrphan removes bytes without a record, which a crash left behind, and
// with them a state file whose first record was cut off.
func (s *Store) removeOrphan(ctx context.Context, id resume.ID) {
	part, state := s.partPath(id), s.statePath(id)
	if s.there(part) && !s.older(part, orphanAge) || s.there(state) && !s.older(state, orphanAge) {
		return
	}
	u, err := s.acquire(ctx, id)
	if err != nil {
		return
	}
	defer u.release()
	if u.takeTurn(ctx) != nil {
		return
	}
	defer u.endTurn()
	u.mu.Lock()
	alive := u.exists
	u.unlock()
	if alive {
		return
	}
	if err := errors.Join(s.removeIfThere(state), s.removeIfThere(part)); err != nil {
		u.log.Warn("bytes without a record cannot be removed", zap.Error(err))
		return
	}
	u.log.Info("bytes without a record removed, from before a crash")
}

func (s *Store) there(path string) bool {
	_, err := s.fs.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// older reports whether the file at path was last written more than d ago;
// never, when d is negative.
func (s *Store) older(path string, d time.Duration) bool {
	info, err := s.fs.Stat(path)
	return err == nil && d >= 0 && now().Sub(info.ModTime()) >= d
}
