package middleware

import (
	"container/heap"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"go.uber.org/zap"

	"github.com/wsingest/wsingest/resume"
)

// outbox delivers complete uploads without their clients: those it finds in
// the store at the start, and those on which a delivery with a client gave up.
// It tries one at a time of each upload, and in between the upload is anybody's:
// a client that comes back need not wait for the next turn. It has goroutines
// only while it tries.
type outbox struct {
	in    *Ingest
	begin sync.Once

	mu      sync.Mutex
	letters map[resume.ID]*letter
	turns   turns // when letters are due; one that is not its letter's turn any more counts for nothing
	timer   *time.Timer
	trying  int
	closed  bool
}

// letter is an upload in the outbox.
type letter struct {
	id      resume.ID
	due     time.Time // zero: being tried, or dead
	dead    bool      // tried no more, unless somebody says so
	forced  bool      // somebody said so
	tries   int
	wait    *backoff.ExponentialBackOff // between them
	problem string                      // what came of the last try
}

// deliveringAtOnce bounds the deliveries without clients that are under way.
const deliveringAtOnce = 8

// start has the outbox look through the store.
func (b *outbox) start() {
	if b.in.opts.RedeliverFor < 0 {
		return
	}
	b.begin.Do(func() {
		b.in.opts.Deliveries.attach(b)
		go b.find()
	})
}

// find takes up what is complete and was not delivered. What completes later
// has a client, at first.
func (b *outbox) find() {
	if !b.in.busy() {
		return
	}
	defer b.in.active.Done()
	for st, err := range b.in.store.All(b.in.current) {
		switch {
		case errors.Is(err, resume.ErrClosed) || b.in.current.Err() != nil:
			return
		case err != nil:
			b.in.log.Warn("an upload in the store cannot be read, and so not be delivered", zap.Error(err))
		case st.Phase == resume.Complete:
			b.add(st.ID, time.Now())
		}
	}
}

// add has an upload delivered from a time on, unless it is known already.
func (b *outbox) add(id resume.ID, due time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || b.letters[id] != nil {
		return
	}
	l := &letter{id: id, due: due, wait: newBackOff()}
	b.letters[id] = l
	heap.Push(&b.turns, turn{l, due})
	b.next()
}

// drop forgets an upload that is delivered.
func (b *outbox) drop(id resume.ID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if l := b.letters[id]; l != nil {
		l.due = time.Time{}
		delete(b.letters, id)
	}
}

// close ends it. What is being tried goes on to its end; the rest is for other
// engines on the store, if there are any.
func (b *outbox) close() {
	b.in.opts.Deliveries.detach(b)
	b.mu.Lock()
	b.closed = true
	if b.timer != nil {
		b.timer.Stop()
	}
	left := slices.Collect(maps.Keys(b.letters))
	b.mu.Unlock()
	for _, id := range left {
		if !b.in.opts.Deliveries.hand(id, b) {
			return
		}
	}
}

// next tries what is due, and sets the timer for what is not; mu is held.
func (b *outbox) next() {
	now := time.Now()
	for !b.closed && b.trying < deliveringAtOnce && len(b.turns) > 0 {
		first := b.turns[0]
		switch {
		case !first.at.Equal(first.letter.due):
			heap.Pop(&b.turns)
		case first.at.After(now):
			if b.timer == nil {
				b.timer = time.AfterFunc(first.at.Sub(now), b.wake)
			} else {
				b.timer.Reset(first.at.Sub(now))
			}
			return
		default:
			heap.Pop(&b.turns)
			first.letter.due = time.Time{}
			b.trying++
			go b.try(first.letter)
		}
	}
}

func (b *outbox) wake() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.next()
}

// try is a letter's turn.
func (b *outbox) try(l *letter) {
	began := b.in.busy()
	gone, err := true, error(nil)
	if began {
		defer b.in.active.Done()
		gone, err = b.in.redeliver(l)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.trying--
	switch {
	case gone:
		delete(b.letters, l.id)
	case b.closed:
		delete(b.letters, l.id)
		go b.in.opts.Deliveries.hand(l.id, b)
	case b.letters[l.id] == l:
		b.again(l, err)
	}
	b.next()
}

// again gives a letter its next turn, or none; mu is held.
func (b *outbox) again(l *letter, err error) {
	log := b.in.log.With(zap.String("upload", string(l.id)))
	var others *resume.LeasedError
	switch {
	case errors.As(err, &others):
		l.due = others.Until
	case errors.Is(err, errBusy):
		l.due = time.Now().Add(firstRetry)
	}
	if !l.due.IsZero() {
		heap.Push(&b.turns, turn{l, l.due})
		return
	}
	l.forced = false
	l.tries++
	l.problem = err.Error()
	var final *finalError
	if errors.As(err, &final) {
		l.dead = true
		log.Error("an upload cannot be delivered without its client: it stays until that comes back, or somebody has it tried again", zap.Error(err))
		return
	}
	wait := l.wait.NextBackOff()
	var asked *backoff.RetryAfterError
	if errors.As(err, &asked) {
		wait = max(wait, asked.Duration)
	}
	log.Warn("delivery without a client failed, trying again", zap.Error(err), zap.Duration("in", wait))
	l.due = time.Now().Add(wait)
	heap.Push(&b.turns, turn{l, l.due})
}

// turn is when a letter is due.
type turn struct {
	letter *letter
	at     time.Time
}

// turns is a heap, the earliest first.
type turns []turn

func (t turns) Len() int           { return len(t) }
func (t turns) Less(i, j int) bool { return t[i].at.Before(t[j].at) }
func (t turns) Swap(i, j int)      { t[i], t[j] = t[j], t[i] }
func (t *turns) Push(x any)        { *t = append(*t, x.(turn)) }
func (t *turns) Pop() any {
	last := (*t)[len(*t)-1]
	*t = (*t)[:len(*t)-1]
	return last
}
