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

	mu     sync.Mutex
	looked time.Time // when the store was looked through
	held   map[resume.ID]holding
}

// holding is what one upload takes of its owner's quota.
type holding struct {
	owner string
	bytes int64
	since time.Time // when it was let in; zero: found in the store
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
	q.mu.Lock()
	defer q.mu.Unlock()
	if time.Since(q.looked) > quotaLook {
		if err := q.look(ctx); err != nil {
			return err
		}
	}
	room := q.room(o.Info)
	if (room <= 0 || o.Info.Length > room) && time.Since(q.looked) > quotaLookAgain {
		if err := q.look(ctx); err != nil {
			return err
		}
		room = q.room(o.Info)
	}
	if room <= 0 && o.Info.Length != 0 || o.Info.Length > room {
		return &Refusal{Code: string(protocol.QuotaExceeded), Detail: fmt.Sprintf(
			"Your unfinished uploads here may have %d bytes together, and %d are left. Finish or cancel others first.", q.limit, max(0, room))}
	}
	if o.Info.Length == resume.UnknownLength {
		if o.MaxSize == 0 || o.MaxSize > room {
			o.MaxSize = room
		}
		return nil
	}
	if h, there := q.held[o.Info.ID]; !there || h.owner == o.Info.Owner { // else the store will know
		q.held[o.Info.ID] = holding{o.Info.Owner, o.Info.Length, time.Now()}
	}
	return nil
}

// room returns what is left for an upload, besides what it may hold already.
func (q *quota) room(info resume.Info) int64 {
	room := q.limit
	for id, h := range q.held {
		if h.owner == info.Owner && id != info.ID {
			room -= h.bytes
		}
	}
	return room
}

// look looks through the store.
func (q *quota) look(ctx context.Context) error {
	began := time.Now()
	held := make(map[resume.ID]holding)
	for st, err := range q.store.All(ctx) {
		switch {
		case err != nil: // one that cannot be read has no owner
		case st.Phase == resume.Delivered:
			held[st.ID] = holding{owner: st.Owner}
		default:
			held[st.ID] = holding{owner: st.Owner, bytes: max(st.Length, st.Received.Size())}
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	for id, h := range q.held {
		if _, there := held[id]; !there && !h.since.IsZero() && began.Sub(h.since) < quotaGrace {
			held[id] = h
		}
	}
	q.looked, q.held = began, held
	return nil
}
