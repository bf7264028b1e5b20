package middleware

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/resume"
)

// quota bounds what each owner has in the store. It knows the store by looking
// through it, and in between adds up what it has let in since; before it
// refuses anybody it looks again, since uploads also leave.
type quota struct {
	store resume.Store
	limit int64

	looking sync.Mutex // held by whoever looks through the store

	mu     sync.Mutex
	looked time.Time // when the store was looked through
	held   map[resume.ID]holding
	taken  map[string]int64 // sums of held, by owner
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

// admit lets the upload in, with a MaxSize that fits where its length is not
// known, or refuses it.
func (q *quota) admit(ctx context.Context, o *Opening) error {
	if err := q.look(ctx, quotaLook); err != nil {
		return err
	}
	if q.delivered(o.Info.ID) {
		return nil
	}
	if o.Info.Length == resume.UnknownLength {
		return q.admitGrowing(ctx, o)
	}
	return q.take(ctx, o.Info.ID, o.Info.Owner, o.Info.Length)
}

func (q *quota) delivered(id resume.ID) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.held[id].done
}

// admitGrowing lets in an upload that takes its part as it grows: what one has
// not taken, another may.
func (q *quota) admitGrowing(ctx context.Context, o *Opening) error {
	room := q.room(o.Info.ID, o.Info.Owner)
	if room <= 0 {
		if err := q.look(ctx, quotaLookAgain); err != nil {
			return err
		}
		if room = q.room(o.Info.ID, o.Info.Owner); room <= 0 {
			return q.exceeded(room)
		}
	}
	if o.MaxSize == 0 || o.MaxSize > room {
		o.MaxSize = room
	}
	return nil
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
	return q.exceeded(q.room(id, owner))
}

func (q *quota) tryTake(id resume.ID, owner string, bytes int64) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	h, there := q.held[id]
	switch {
	case there && h.owner != owner:
		return true // foreign: the store will say so
	case bytes > q.roomFor(id, owner):
		return false
	case bytes > h.bytes || !there:
		q.taken[owner] += bytes - h.bytes
		q.held[id] = holding{owner: owner, bytes: bytes, since: time.Now()}
	}
	return true
}

// release forgets an upload that was deleted.
func (q *quota) release(id resume.ID) {
	q.mu.Lock()
	defer q.mu.Unlock()
	h := q.held[id]
	q.taken[h.owner] -= h.bytes
	delete(q.held, id)
}

func (q *quota) exceeded(room int64) error {
	return &Refusal{Code: string(protocol.QuotaExceeded), Detail: fmt.Sprintf(
		"Your unfinished uploads here may have %d bytes together, and %d are left. Finish or cancel others first.", q.limit, max(0, room))}
}

// room returns how many bytes the upload may have in all.
func (q *quota) room(id resume.ID, owner string) int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.roomFor(id, owner)
}

func (q *quota) roomFor(id resume.ID, owner string) int64 {
	room := q.limit - q.taken[owner]
	if h := q.held[id]; h.owner == owner {
		room += h.bytes
	}
	return room
}

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
		if now, there := held[id]; recent && (!there || now.owner == h.owner && now.bytes > 0 && now.bytes < h.bytes) {
			held[id] = h
		}
	}
	taken := make(map[string]int64)
	for _, h := range held {
		taken[h.owner] += h.bytes
	}
	q.looked, q.held, q.taken = began, held, taken
}
