package middleware

import (
	"container/heap"
	"fmt"
	"time"

	"github.com/wsingest/wsingest/resume"
)

// Undelivered is an upload that is complete, and that the engine delivers
// without its client, or has given up.
type Undelivered struct {
	ID       resume.ID
	Attempts int       // since the engine began
	Problem  string    // what came of the last one; "" before the first
	Next     time.Time // when it is tried next; zero: now, or never
	// Dead: it is not tried again by itself, since it was refused, or for longer
	// than RedeliverFor in vain. Its client may come back for it, and
	// [Ingest.Redeliver] has it tried again.
	Dead bool
}

// Undelivered returns what is on its way without its client, and what was given
// up, in no order. What a client came with is not among it for the first
// Options.DeliverFor, whether the client is still there or not.
func (in *Ingest) Undelivered() []Undelivered {
	b := in.outbox
	b.mu.Lock()
	defer b.mu.Unlock()
	list := make([]Undelivered, 0, len(b.letters))
	for _, l := range b.letters {
		list = append(list, Undelivered{ID: l.id, Attempts: l.tries, Problem: l.problem, Next: l.due, Dead: l.dead})
	}
	return list
}

// Redeliver has an upload that [Ingest.Undelivered] lists tried now, also one
// that was given up. The error is resume.ErrNotFound when it lists no such
// upload. It does not wait for what comes of it.
func (in *Ingest) Redeliver(id resume.ID) error {
	b := in.outbox
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.letters[id]
	if l == nil || b.closed {
		return fmt.Errorf("upload %s: %w", id, resume.ErrNotFound)
	}
	l.forced = true
	if l.dead || !l.due.IsZero() { // else it is being tried just now
		l.dead, l.due = false, time.Now()
		heap.Push(&b.turns, turn{l, l.due})
		b.next()
	}
	return nil
}
