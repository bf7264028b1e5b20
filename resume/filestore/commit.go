package filestore

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/wsingest/wsingest/resume"
	"github.com/wsingest/wsingest/resume/filestore/internal/vfs"
	"github.com/wsingest/wsingest/resume/internal/rules"
)

// committer makes an upload durable in the background, while bytes keep coming
// in: what was written up to some moment is synced, then a record of it, and
// then it is told. It is guarded by the upload's mu.
type committer struct {
	running bool          // its goroutine is there
	kick    chan struct{} // it shall look at what is due

	dirty  bool      // something is not in a record yet
	since  time.Time // when that began
	bytes  int64     // of it, in the part file
	data   bool      // the part file needs a sync
	urgent bool      // somebody waits

	taken, done uint64    // snapshots: how many were taken, how many are durable
	under       *snapshot // the one that is on its way
	hold        uint64    // no byte may be written before this one is done
	again       bool      // the last one found no room
	full        bool      // a sync found no room for bytes: none is taken in before they are written anew
	doubt       bool      // a record may be on the disk that nobody was told of

	lasted time.Duration // how long the last commit took
}

// dirty asks for a commit, at once or in the usual time.
func (u *upload) dirty(urgent bool) {
	if u.dead != nil {
		return
	}
	k := &u.commit
	if !k.dirty {
		k.dirty = true
		k.since = now()
	}
	k.urgent = k.urgent || urgent
	u.runCommitter(urgent)
}

// written counts bytes that came into the part file.
func (u *upload) written(n int64) {
	k := &u.commit
	before := k.bytes
	k.bytes += n
	k.data = true
	if !k.dirty {
		k.dirty = true
		k.since = now()
	}
	limit := u.store.opts.SyncBytes
	u.runCommitter(before < limit && k.bytes >= limit)
}

// hurry commits what there is at once.
func (u *upload) hurry() {
	if u.commit.dirty {
		u.dirty(true)
	}
}

func (u *upload) runCommitter(kick bool) {
	k := &u.commit
	switch {
	case !k.running:
		k.running = true
		u.retain()
		go u.commitLoop()
	case kick:
		u.kickCommitter()
	}
}

func (u *upload) kickCommitter() {
	select {
	case u.commit.kick <- struct{}{}:
	default:
	}
}

// waitCommit returns when snapshot number n is durable.
func (u *upload) waitCommit(ctx context.Context, n uint64) error {
	for u.commit.done < n {
		if u.dead != nil {
			return u.dead
		}
		if err := u.wait(ctx); err != nil {
			return err
		}
	}
	return nil
}

// commitLoop runs while there is something to make durable.
func (u *upload) commitLoop() {
	defer u.release()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		u.mu.Lock()
		u.awaitWriters()
		if u.dead != nil || !u.commit.dirty {
			u.commit.running = false
			u.wake()
			u.unlock()
			return
		}
		d, small := u.commitDue(), u.small
		u.unlock()
		if d > 0 {
			timer.Reset(d)
			select {
			case <-timer.C:
			case <-u.commit.kick:
			}
			continue
		}
		if small { // the journal takes as many at a time as there are
			u.commitOnce()
			continue
		}
		tokens := u.awaitTurn()
		u.commitOnce()
		<-tokens
	}
}

// awaitTurn takes one of the tokens for syncs under way, and returns where it
// goes back to. Those that somebody waits for do not queue behind a thousand
// that nobody does.
func (u *upload) awaitTurn() chan struct{} {
	for {
		u.mu.Lock()
		urgent := u.commit.urgent
		u.unlock()
		if urgent {
			u.store.urgent <- struct{}{}
			return u.store.urgent
		}
		select {
		case u.store.commits <- struct{}{}:
			return u.store.commits
		case <-u.commit.kick: // it may be urgent now
		}
	}
}

// commitDue returns how long the next commit may wait. A disk that needs long
// for one gets as long a rest.
func (u *upload) commitDue() time.Duration {
	k := &u.commit
	if k.again && !u.store.isClosed() {
		return fullRetry - now().Sub(k.since)
	}
	if k.urgent || k.bytes >= u.store.opts.SyncBytes {
		return 0
	}
	return max(u.store.opts.SyncInterval, k.lasted) - now().Sub(k.since)
}

func (u *upload) commitOnce() {
	u.mu.Lock()
	if u.dead != nil || !u.commit.dirty {
		u.unlock()
		return
	}
	s := u.snapshot()
	u.unlock()

	err := u.persist(s)
	took := now().Sub(s.at)
	if err == nil {
		u.store.opts.OnCommit(took)
	}

	u.mu.Lock()
	defer u.unlock()
	u.commit.under = nil
	u.commit.lasted = took
	switch {
	case u.dead != nil:
		if err != nil {
			u.doubted()
		}
	case mayPass(err) && !u.store.isClosed(): // Close does not wait for room
		u.log.Warn("no room to make an upload durable: trying again", zap.Error(err))
		u.commitAgain(s, err)
	case err != nil:
		u.fail(storageError(err))
	default:
		u.committed(s)
	}
	u.wake()
}

// mayPass reports whether a commit failed for want of room, and nothing that was
// promised is in doubt.
func mayPass(err error) bool {
	_, record := errors.AsType[*unwritten](err)
	_, data := errors.AsType[*unsynced](err)
	return (record || data) && vfs.IsFull(err)
}

// commitAgain has a later commit do what this one could not, since there was no
// room. Those who wait for it wait on.
func (u *upload) commitAgain(s *snapshot, err error) {
	k := &u.commit
	if _, data := errors.AsType[*unsynced](err); data {
		k.full = true
	} else if u.slots != nil || s.small {
		k.doubt = true
	}
	k.again, k.dirty, k.since = true, true, now()
	k.data = k.data || s.part != nil
}

// committed tells of a snapshot that is durable now.
func (u *upload) committed(s *snapshot) {
	u.commit.done = s.number
	if s.out {
		u.out()
	}
	u.commit.again, u.commit.doubt = false, false
	if u.commit.full {
		u.commit.full = false
		u.log.Info("there is room again")
		u.follow()
	}
	u.updated = fromSeconds(s.record.Updated)
	before := u.durable().Size()
	u.baseDurable = s.base
	for _, m := range s.marks {
		if m.claim.detached {
			u.baseDurable = rules.Union(u.baseDurable, m.at.upTo(m.claim.runs))
			continue
		}
		m.claim.durable = m.at
	}
	if !s.voided {
		u.hash.saved = s.record.Hash
	}
	completed := u.now.phase == resume.Receiving && s.next.phase == resume.Complete
	u.now = s.next
	if completed {
		u.completed()
	}
	if after := u.durable().Size(); after != before {
		u.due = append(u.due, u.claims...)
		if e := u.log.Check(zap.DebugLevel, "durable"); e != nil {
			e.Write(zap.Int64("bytes", after), zap.Duration("took", u.commit.lasted))
		}
	}
}

// completed ends the claims that did not finish the upload themselves.
func (u *upload) completed() {
	u.log.Debug("upload complete", zap.Int64("length", u.info.Length))
	for _, c := range append([]*claim(nil), u.claims...) {
		if c != u.finisher && c.err == nil {
			c.end(resume.ErrComplete)
			u.due = append(u.due, c)
		}
	}
}

// void takes bytes of c from to on out of the commit under way, which will not
// tell of them. It reports whether there were any.
func (k *committer) void(c *claim, to mark) bool {
	if k.under == nil {
		return false
	}
	for i := range k.under.marks {
		if m := &k.under.marks[i]; m.claim == c {
			had := m.at.cursor > to.cursor
			m.at = m.at.before(to)
			k.under.voided = k.under.voided || had
			return had
		}
	}
	return false
}
