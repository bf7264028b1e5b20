package middleware

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/resume"
)

// quota bounds what each owner has in the store: bytes, and uploads. It knows
// the store by looking through it, and in between adds up what it has let in
// since; before it refuses anybody it looks again, since uploads also leave.
type quota struct {
	store resume.Store
	limit int64 // bytes; 0: no bound
	most  int   // uploads; 0: no bound

	looking sync.Mutex // held by whoever looks through the store

	mu     sync.Mutex
	looked time.Time // when the store was looked through
	held   map[resume.ID]holding
	taken  map[string]sum // of held, by owner
}

// sum is what all uploads of one owner take together.
type sum struct {
	bytes   int64
	uploads int
}

// newQuota returns nil where there is no bound.
func newQuota(store resume.Store, o Options) *quota {
	if o.QuotaPerOwner == 0 && o.MaxUploadsPerOwner == 0 {
		return nil
	}
	return &quota{
		store: store, limit: o.QuotaPerOwner, most: o.MaxUploadsPerOwner,
		held: make(map[resume.ID]holding), taken: make(map[string]sum),
	}
}

// holding is what one upload takes of its owner's quota.
type holding struct {
	owner string
	bytes int64
	since time.Time // when it was let in; zero: found in the store
	done  bool      // delivered: it takes no more, whatever is asked of it
}

const (
	// quotaLook is how old a look at the store may be.
	quotaLook = 10 * time.Second
	// quotaLookAgain is the least between two looks, however often it is asked.
	quotaLookAgain = time.Second
	// quotaGrace is how long what was let in may take to show in the store.
	quotaGrace = 5 * time.Second
)

func (q *quota) boundsBytes() bool { return q != nil && q.limit > 0 }

// admit lets the upload in, or refuses it. room is what it may have as long as
// no other upload takes or leaves any, 0 where that is not of interest; fresh
// says that it was not known before.
func (q *quota) admit(ctx context.Context, o *Opening) (room int64, fresh bool, err error) {
	if err := q.look(ctx, quotaLook); err != nil {
		return 0, false, err
	}
	id, owner := o.Info.ID, o.Info.Owner
	h, there := q.known(id)
	if h.done || o.Resume && (!there || h.owner != owner) {
		return 0, false, nil // takes nothing, or is not there: the store will say so
	}
	if err := q.take(ctx, id, owner, max(o.Info.Length, 0)); err != nil {
		return 0, false, err
	}
	if o.Info.Length != resume.UnknownLength || q.limit == 0 {
		return 0, !there, nil
	}
	// It takes its part as it grows: what one has not taken, another may.
	if room = q.room(id, owner); room <= 0 {
		if err := q.look(ctx, quotaLookAgain); err != nil {
			return 0, !there, err
		}
		if room = q.room(id, owner); room <= 0 {
			return 0, !there, q.exceeded(id, owner)
		}
	}
	return room, !there, nil
}

func (q *quota) known(id resume.ID) (h holding, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	h, ok = q.held[id]
	return h, ok
}

// grow has the upload of a claim hold what it has received, and p bytes more as
// far as they are new: those of other lanes count as its own do.
func (q *quota) grow(ctx context.Context, up *upload, p int64) error {
	st, at := up.claim.State(), up.claim.Cursor()
	bytes := st.Received.Size()
	for _, r := range st.Received.Missing(resume.Range{Start: at, End: at + p}) {
		bytes += r.End - r.Start
	}
	return q.take(ctx, up.id, up.owner, bytes)
}

// take has the upload hold bytes of its owner's quota in all, if there is room.
func (q *quota) take(ctx context.Context, id resume.ID, owner string, bytes int64) error {
	if q.tryTake(id, owner, bytes) {
		return nil
	}
	if err := q.look(ctx, quotaLookAgain); err != nil {
		return err
	}
	if q.tryTake(id, owner, bytes) {
		return nil
	}
	return q.exceeded(id, owner)
}

func (q *quota) tryTake(id resume.ID, owner string, bytes int64) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	h, there := q.held[id]
	switch {
	case there && (h.owner != owner || h.done):
		return true // foreign, or delivered: the store will say so
	case bytes > q.roomFor(id, owner), !there && q.crowded(owner):
		return false
	case bytes > h.bytes || !there:
		q.forget(id)
		q.hold(id, holding{owner: owner, bytes: bytes, since: time.Now()})
	}
	return true
}

// hold and forget keep the sums. q.mu is held.
func (q *quota) hold(id resume.ID, h holding) {
	t := q.taken[h.owner]
	t.bytes += h.bytes
	if !h.done {
		t.uploads++
	}
	q.held[id], q.taken[h.owner] = h, t
}

func (q *quota) forget(id resume.ID) {
	h, ok := q.held[id]
	if !ok {
		return
	}
	t := q.taken[h.owner]
	t.bytes -= h.bytes
	if !h.done {
		t.uploads--
	}
	delete(q.held, id)
	if q.taken[h.owner] = t; t == (sum{}) {
		delete(q.taken, h.owner)
	}
}

// settle notes that an upload was delivered: it takes nothing from now on, and
// its owner may begin the next one at once. There may be no bound, and no q.
func (q *quota) settle(id resume.ID, owner string) {
	if q == nil {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.forget(id)
	q.hold(id, holding{owner: owner, since: time.Now(), done: true})
}

// release forgets an upload that was deleted.
func (q *quota) release(id resume.ID) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.forget(id)
}

// exceeded says what of the two there is too much of.
func (q *quota) exceeded(id resume.ID, owner string) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	detail := fmt.Sprintf("Your uploads here that are not finished, or not delivered yet, may have %d bytes together, and %d are left. Finish or cancel others, or wait.",
		q.limit, max(0, q.roomFor(id, owner)))
	if _, there := q.held[id]; !there && q.crowded(owner) {
		detail = fmt.Sprintf("You may have %d uploads here at a time that are not finished, or not delivered yet. Finish or cancel others, or wait.", q.most)
	}
	return &Refusal{Code: protocol.QuotaExceeded, Detail: detail}
}

// room returns how many bytes the upload may have in all.
func (q *quota) room(id resume.ID, owner string) int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.roomFor(id, owner)
}

func (q *quota) roomFor(id resume.ID, owner string) int64 {
	if q.limit == 0 {
		return math.MaxInt64
	}
	room := q.limit - q.taken[owner].bytes
	if h := q.held[id]; h.owner == owner {
		room += h.bytes
	}
	return room
}

// crowded reports whether the owner has as many uploads as one may have.
func (q *quota) crowded(owner string) bool { return q.most > 0 && q.taken[owner].uploads >= q.most }

// look looks through the store, unless that was done within age. It may take
// its time: only those who need to know wait for it.
func (q *quota) look(ctx context.Context, age time.Duration) error {
	q.looking.Lock()
	defer q.looking.Unlock()
	q.mu.Lock()
	fresh := time.Since(q.looked) <= age
	q.mu.Unlock()
	if fresh {
		return nil
	}
	began := time.Now()
	held := make(map[resume.ID]holding)
	for st, err := range q.store.All(ctx) {
		switch {
		case err != nil: // one that cannot be read has no owner
		case st.Phase == resume.Delivered:
			held[st.ID] = holding{owner: st.Owner, done: true}
		default:
			held[st.ID] = holding{owner: st.Owner, bytes: max(st.Length, st.Received.Size())}
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	q.found(began, held)
	return nil
}

// found notes what was found in the store, and keeps what was let in too late
// to be found.
func (q *quota) found(began time.Time, held map[resume.ID]holding) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for id, h := range q.held {
		recent := !h.since.IsZero() && began.Sub(h.since) < quotaGrace
		now, there := held[id]
		meanwhile := there && h.done // it was delivered, if it was not found so
		if meanwhile || recent && (!there || now.owner == h.owner && now.bytes > 0 && now.bytes < h.bytes) {
			held[id] = h
		}
	}
	q.looked, q.held, q.taken = began, make(map[resume.ID]holding, len(held)), make(map[string]sum)
	for id, h := range held {
		q.hold(id, h)
	}
}
