package s3store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/wsingest/wsingest/resume"
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

	// turn is held by who changes what is in the bucket, one at a time. What
	// follows up to mu belongs to it.
	turn  chan struct{}
	was   version // the record that is in the bucket
	adopt bool    // parts of others may still arrive in the multipart upload

	mu      sync.Mutex    // guards what follows; never held over a request
	changed chan struct{} // closed at the next change, when somebody waits for one
	exists  bool
	dead    error // why this copy takes no more work
	info    resume.Info
	plan    plan
	phase   resume.Phase
	epoch   uint64
	sha256  []byte
	origin  []byte // while it is complete
	result  []byte

	created, updated time.Time

	published *published // while it is complete
	lease     *lease     // the same: who delivers it

	// What is durable is stored, which nobody can take back, and fresh of each
	// claim. What is received is that and the blocks in memory.
	stored  resume.Extents
	claims  []*claim
	due     []*claim // whose notify is to be called
	blocks  []*block
	objects []object
	parts   *parts
	hash    hasher

	shares   bool          // it is one of store.sharing
	tending  bool          // a goroutine looks after the blocks
	kick     chan struct{} // tells it to look again
	flying   int           // parts on their way
	grounded bool          // no part may set out
	flush    bool          // nothing is to stay in memory
}

// parts is the multipart upload that this node fills. It has no UploadID until
// the first part sets out.
type parts struct {
	multipart
	begin    sync.Mutex   // held while it gets one
	offered  bool         // it was in a record that was sent, and may have arrived
	recorded bool         // a record names it
	have     map[int]bool // that the record has
	landed   map[int]bool // that the storage has taken, and the next record will have
	flying   map[int]bool // on their way
}

// acquire returns the upload id, loaded, with a reference on it. One that is
// not stored is returned too, with exists unset.
func (s *Store) acquire(ctx context.Context, id resume.ID) (*upload, error) {
	if _, err := resume.ParseID(string(id)); err != nil {
		return nil, err
	}
	for {
		u, err := s.lookUp(ctx, id)
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
		if !dead && u.loadErr == nil {
			return u, nil
		}
		u.release()
		if u.loadErr != nil {
			return nil, u.wrap(u.loadErr)
		}
		select {
		case <-u.gone:
		case <-ctx.Done():
			return nil, u.wrap(context.Cause(ctx))
		}
	}
}

func (s *Store) lookUp(ctx context.Context, id resume.ID) (*upload, error) {
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
		kick:  make(chan struct{}, 1),
	}
	s.uploads[id] = u
	tainted := s.tainted[id]
	s.mu.Unlock()

	u.loadErr = u.load(ctx, tainted)
	close(u.ready)
	return u, nil
}

// deleting is how long one who deletes an upload has for it, before somebody
// else may make one with that id anew.
const deleting = time.Minute

// errDeleting: try again in a moment.
var errDeleting = errors.New("it is being deleted on another node")

func (u *upload) load(ctx context.Context, tainted bool) error {
	r, etag, err := u.store.read(ctx, u.id)
	for err == nil && r.Gone && time.Since(fromSeconds(r.Updated)) < deleting {
		select {
		case <-time.After(firstPause):
		case <-ctx.Done():
			return errDeleting
		}
		r, etag, err = u.store.read(ctx, u.id)
	}
	if errors.Is(err, resume.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	u.was = version{etag, r.Rev}
	if r.Gone {
		return nil
	}
	u.exists = true
	u.info = r.info()
	u.plan = plan{size: r.PartSize, growing: r.Growing}
	u.phase, u.epoch = r.Phase, r.Epoch
	u.sha256, u.origin, u.result = r.SHA256, r.Origin, r.Result
	u.published, u.lease = r.Publish, r.Lease
	u.created, u.updated = fromSeconds(r.Created), fromSeconds(r.Updated)
	u.stored = r.extents()
	u.objects = r.Objects
	u.parts = newParts(multipart{})
	if r.Parts != nil {
		u.parts = newParts(*r.Parts)
		u.parts.recorded = true
		for _, h := range r.Parts.Have {
			for i := h[0]; i <= h[1]; i++ {
				u.parts.have[i] = true
			}
		}
		u.adopt = r.Node != u.store.node || tainted
		u.grounded = u.adopt
	}
	u.hash.load(r.Hash)
	return nil
}

func newParts(m multipart) *parts {
	return &parts{multipart: m, have: map[int]bool{}, landed: map[int]bool{}, flying: map[int]bool{}}
}

// retain adds a reference; who calls has one already.
func (u *upload) retain() {
	u.store.mu.Lock()
	u.refs++
	u.store.mu.Unlock()
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
	u.mu.Lock()
	u.dropBlocks(func(*block) bool { return true })
	if p := u.parts; p != nil && p.UploadID != "" && (u.dead != nil || !p.recorded) {
		// Nobody else may know of it.
		before := ""
		if p.offered {
			before = u.was.rev
		}
		s.sweeping.Go(func() { s.forsake(u.id, p.multipart, before) })
	}
	u.mu.Unlock()
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

// wake lets those in wait look again, and the tender.
func (u *upload) wake() {
	if u.changed != nil {
		close(u.changed)
		u.changed = nil
	}
	select {
	case u.kick <- struct{}{}:
	default:
	}
}

// fail ends this copy of the upload. Nobody may rely on anything it holds in
// memory; the next Open reads the bucket.
func (u *upload) fail(err error) {
	if u.dead != nil {
		return
	}
	u.dead = err
	switch {
	case errors.Is(err, resume.ErrSuperseded):
		u.log.Info("another node goes on with the upload")
	case errors.Is(err, resume.ErrLost):
		u.log.Error("the upload cannot go on", zap.Error(err))
	case !errors.Is(err, resume.ErrNotFound):
		u.log.Error("storage failed; the upload goes on from what is durable", zap.Error(err))
		// A request that failed may arrive all the same, later.
		u.store.mu.Lock()
		u.store.tainted[u.id] = true
		if u.store.closed {
			u.store.lost++
		}
		u.store.mu.Unlock()
	}
	u.endClaims(resume.Everything, err)
	u.wake()
}

func (u *upload) wrap(err error) error { return fmt.Errorf("upload %s: %w", u.id, err) }

func (u *upload) wrapNil(err error) error {
	if err == nil {
		return nil
	}
	return u.wrap(err)
}

func (u *upload) durable() resume.Extents {
	lists := make([][]resume.Extent, 0, 1+len(u.claims))
	lists = append(lists, u.stored)
	for _, c := range u.claims {
		lists = append(lists, c.fresh)
	}
	return rules.Union(lists...)
}

func (u *upload) received() resume.Extents {
	blocks := make([]resume.Extent, 0, len(u.blocks))
	for _, b := range u.blocks {
		blocks = append(blocks, b.extent())
	}
	return rules.Union(u.durable(), blocks)
}

// state returns a snapshot.
func (u *upload) state() resume.State {
	st := resume.State{
		Info: u.info, Phase: u.phase, Epoch: u.epoch,
		Durable: u.durable(), Received: u.received(),
		SHA256: u.sha256, Origin: u.origin, Result: u.result,
		Created: u.created, Updated: u.updated,
	}
	if d := u.store.opts.expiry(st.Phase); d >= 0 {
		st.Expires = st.Updated.Add(d)
	}
	return st
}
