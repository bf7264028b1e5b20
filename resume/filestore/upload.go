package filestore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/wsingest/wsingest/resume"
	"github.com/wsingest/wsingest/resume/filestore/internal/vfs"
	"github.com/wsingest/wsingest/resume/internal/rules"
)

// upload is an upload in memory. It is there while somebody has it open, while
// a call on it is under way, and while anything of it is not durable yet; each
// of these is a reference.
type upload struct {
	store *Store
	id    resume.ID
	log   *zap.Logger

	refs    int           // guarded by store.mu
	ready   chan struct{} // closed when loaded
	loadErr error         // of loading; fixed when ready is closed
	gone    chan struct{} // closed when this copy has left memory

	// turn is held by the calls that change what the upload is, one at a time:
	// Open, Publish, Settle, Delete. It is never held while waiting for a client.
	turn chan struct{}

	mu      sync.Mutex    // guards what follows; never held over a trip to the disk
	changed chan struct{} // closed at the next change, when somebody waits for one

	exists bool  // there is such an upload, in memory at least
	stored bool  // and it has a record on disk
	dead   error // why this copy takes no more work
	info   resume.Info
	epoch  uint64

	created, updated time.Time

	now, next outcome // as it is durably, and as the next commit makes it

	// What is received is base and the runs of the claims; what of it is durable
	// is baseDurable and these runs up to each claim's durable mark. Claims keep
	// their own, so that going back is exact and costs nothing.
	base, baseDurable resume.Extents
	claims            []*claim
	due               []*claim // whose notify is to be called
	finisher          *claim   // who finished it

	part    part       // nil while nobody needs it
	promise int64      // bytes of the disk that are spoken for, and not written yet
	slots   *stateFile // nil until the first commit
	commit  committer
	hash    follower

	small   bool     // it has no files: its bytes are a buffer, and in the journal with its records
	leaving bool     // and is to get some with the next commit
	movedTo vfs.File // its part file meanwhile; the committer's own
}

// outcome is what changes at a few steps of an upload's life only, each of
// which is durable before it is shown.
type outcome struct {
	phase   resume.Phase
	sha256  []byte
	origin  []byte
	result  []byte
	publish *intent
	moved   string // where Content.Rename is putting the part file
}

// acquire returns the upload id, loaded, with a reference on it. One that is
// not stored is returned too, with exists unset.
func (s *Store) acquire(ctx context.Context, id resume.ID) (*upload, error) {
	u, err := s.acquireAny(ctx, id)
	if err == nil && u.loadErr != nil {
		defer u.release()
		return nil, u.wrap(u.loadErr)
	}
	return u, err
}

// acquireAny returns also an upload that could not be loaded.
func (s *Store) acquireAny(ctx context.Context, id resume.ID) (*upload, error) {
	if _, err := resume.ParseID(string(id)); err != nil {
		return nil, err
	}
	for {
		u, err := s.lookUp(id)
		if err != nil {
			return nil, fmt.Errorf("upload %s: %w", id, err)
		}
		select {
		case <-u.ready:
		case <-ctx.Done():
			u.release()
			return nil, u.wrap(context.Cause(ctx))
		}
		u.mu.Lock()
		dead := u.dead != nil
		u.unlock()
		if !dead {
			return u, nil
		}
		u.release()
		select {
		case <-u.gone:
		case <-ctx.Done():
			return nil, u.wrap(context.Cause(ctx))
		}
	}
}

func (s *Store) lookUp(id resume.ID) (*upload, error) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, resume.ErrClosed
	}
	u, ok := s.uploads[id]
	if ok {
		u.refs++
		s.mu.Unlock()
		return u, nil
	}
	u = &upload{
		store: s, id: id, refs: 1,
		log:   s.log.With(zap.String("upload", string(id))),
		ready: make(chan struct{}),
		gone:  make(chan struct{}),
		turn:  make(chan struct{}, 1),
	}
	u.commit.kick = make(chan struct{}, 1)
	s.uploads[id] = u
	failed := s.suspect[id]
	s.mu.Unlock()

	u.loadErr = u.load(s.suspicious, failed)
	close(u.ready)
	return u, nil
}

// load reads the state file, or what the journal has. What the disk may not
// have seen yet, since a process was killed or a sync has failed, is made
// durable before anybody is told of it.
func (u *upload) load(suspicious, failed bool) error {
	there, err := u.loadFile(suspicious || failed)
	switch {
	case err != nil:
		return err
	case there:
		return u.finishMove()
	}
	return u.loadSmall(failed)
}

// loadFile reads the state file, if there is one with a record.
func (u *upload) loadFile(doubtful bool) (there bool, err error) {
	flag := os.O_RDONLY
	if doubtful {
		flag = os.O_RDWR
	}
	slots, payload, err := openState(u.store.fs, u.store.statePath(u.id), flag)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer slots.close()
	if payload == nil {
		return false, nil
	}
	r, extents, err := decodeRecord(payload)
	if err != nil {
		return false, err
	}
	if r.ID != u.id {
		// A file system that takes upper and lower case for the same.
		return false, fmt.Errorf("%w: its file name is taken by upload %s", errOther, r.ID)
	}
	if doubtful {
		if err := slots.affirm(); err != nil {
			return false, storageError(err)
		}
		u.trusted()
	}
	u.took(r, extents)
	u.stored = true
	return true, nil
}

// trusted says that what is read of the upload is durable.
func (u *upload) trusted() {
	u.store.mu.Lock()
	delete(u.store.suspect, u.id)
	u.store.mu.Unlock()
}

// doubted says that the disk may have more of the upload than was told.
func (u *upload) doubted() {
	u.store.mu.Lock()
	u.store.suspect[u.id] = true
	u.store.mu.Unlock()
}

// took takes up a record.
func (u *upload) took(r *record, extents resume.Extents) {
	u.exists = true
	u.info = r.info()
	u.epoch = r.Epoch
	u.created, u.updated = fromSeconds(r.Created), fromSeconds(r.Updated)
	u.now = outcome{phase: r.Phase, sha256: r.SHA256, origin: r.Origin, result: r.Result, publish: r.Publish, moved: string(r.Moved)}
	u.next = u.now
	u.base, u.baseDurable = extents, extents
	u.hash.load(r.Hash)
}

// errOther is a fault of the directory, not an answer about the upload: with
// random ids it does not happen by chance.
var errOther = errors.New("another upload is in the way")

// retain adds a reference; who calls has one already.
func (u *upload) retain() {
	u.store.mu.Lock()
	u.refs++
	u.store.mu.Unlock()
}

// stay adds a reference unless the last one is gone: a claim that has ended
// may be asked for something after its upload has left memory.
func (u *upload) stay() bool {
	u.store.mu.Lock()
	defer u.store.mu.Unlock()
	if u.refs == 0 {
		return false
	}
	u.refs++
	return true
}

func (u *upload) release() {
	s := u.store
	s.mu.Lock()
	u.refs--
	if u.refs > 0 {
		s.mu.Unlock()
		return
	}
	delete(s.uploads, u.id)
	drained := s.closed && len(s.uploads) == 0
	s.mu.Unlock()
	u.slots.close()
	s.space.take(u.promise, u.promise)
	if u.part != nil {
		u.part.Close()
	}
	if u.movedTo != nil {
		u.movedTo.Close()
	}
	close(u.gone)
	if drained {
		close(s.drained)
	}
}

func (u *upload) takeTurn(ctx context.Context) error {
	select {
	case u.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (u *upload) endTurn() { <-u.turn }

// wait gives mu up until something changed.
func (u *upload) wait(ctx context.Context) error {
	if u.changed == nil {
		u.changed = make(chan struct{})
	}
	changed := u.changed
	u.unlock()
	defer u.mu.Lock()
	select {
	case <-changed:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// wake lets those in wait look again.
func (u *upload) wake() {
	if u.changed != nil {
		close(u.changed)
		u.changed = nil
	}
}

// fail ends this copy of the upload after a fault of the storage. Nobody may
// rely on anything it holds in memory; the next Open reads the disk.
func (u *upload) fail(err error) {
	if u.dead != nil {
		return
	}
	u.dead = err
	u.doubted()
	u.log.Error("storage failed; the upload goes on from what is durable", zap.Error(err))
	u.endClaims(resume.Everything, err)
	u.wakeAll()
}

// wakeAll also wakes the goroutines of the upload.
func (u *upload) wakeAll() {
	u.wake()
	select {
	case u.commit.kick <- struct{}{}:
	default:
	}
}

func (u *upload) wrap(err error) error { return fmt.Errorf("upload %s: %w", u.id, err) }

// received returns all that was taken in.
func (u *upload) received() resume.Extents {
	lists := make([][]resume.Extent, 0, 1+len(u.claims))
	lists = append(lists, u.base)
	for _, c := range u.claims {
		lists = append(lists, c.runs)
	}
	return rules.Union(lists...)
}

func (u *upload) durable() resume.Extents {
	lists := make([][]resume.Extent, 0, 1+len(u.claims))
	lists = append(lists, u.baseDurable)
	for _, c := range u.claims {
		lists = append(lists, c.durable.upTo(c.runs))
	}
	return rules.Union(lists...)
}

// state returns a snapshot.
func (u *upload) state() resume.State {
	st := resume.State{
		Info:     u.info,
		Phase:    u.now.phase,
		Epoch:    u.epoch,
		Durable:  u.durable(),
		Received: u.received(),
		SHA256:   u.now.sha256,
		Origin:   u.now.origin,
		Result:   u.now.result,
		Created:  u.created,
		Updated:  u.updated,
	}
	if d := u.store.opts.expiry(st.Phase); d >= 0 {
		st.Expires = st.Updated.Add(d)
	}
	return st
}

// contiguousFrom returns how far what is received reaches without a gap.
func (u *upload) contiguousFrom(off int64) int64 {
	for {
		end := u.base.EndFrom(off)
		for _, c := range u.claims {
			end = resume.Extents(c.runs).EndFrom(end)
		}
		if end == off {
			return off
		}
		off = end
	}
}
