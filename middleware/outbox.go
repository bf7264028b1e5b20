package middleware

import (
	"container/heap"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"go.uber.org/zap"

	"github.com/wsingest/wsingest/middleware/protocol"
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
	problem string // what came of the last try
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
	l := &letter{id: id, due: due}
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
	if errors.Is(err, errBusy) {
		l.due = time.Now().Add(firstRetry)
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
	wait := maxRetry
	if l.tries < 16 {
		wait = min(maxRetry, time.Duration(float64(firstRetry)*pow(1.5, l.tries)))
	}
	wait = time.Duration(float64(wait) * (0.75 + rand.Float64()/2))
	var asked *backoff.RetryAfterError
	if errors.As(err, &asked) {
		wait = max(wait, asked.Duration)
	}
	log.Warn("delivery without a client failed, trying again", zap.Error(err), zap.Duration("in", wait))
	l.due = time.Now().Add(wait)
	heap.Push(&b.turns, turn{l, l.due})
}

func pow(base float64, n int) float64 {
	p := 1.0
	for range n {
		p *= base
	}
	return p
}

// finalError is one that trying again does not mend.
type finalError struct{ error }

func (e *finalError) Unwrap() error { return e.error }

func final(format string, args ...any) error { return &finalError{fmt.Errorf(format, args...)} }

// errBusy: a client is there, and its upload being delivered for it.
var errBusy = errors.New("its delivery is under way")

// redeliver tries one upload. gone is true when there is nothing left to do
// here.
func (in *Ingest) redeliver(l *letter) (gone bool, err error) {
	st, err := in.store.Stat(in.work, l.id)
	switch {
	case errors.Is(err, resume.ErrNotFound), errors.Is(err, resume.ErrClosed):
		return true, nil
	case err != nil:
		return false, err
	case st.Phase != resume.Complete:
		return true, nil
	}
	o, err := parseOrigin(st.Origin)
	if err != nil {
		return false, &finalError{err}
	}
	finished := time.Unix(o.Finished, 0)
	if !l.forced && time.Since(finished) > in.opts.RedeliverFor {
		return false, final("it was tried for %v, since %s", in.opts.RedeliverFor, finished.UTC().Format(time.RFC3339))
	}
	r, err := o.request()
	if err != nil {
		return false, &finalError{err}
	}
	deliver := func(r *http.Request, next http.Handler) {
		err = in.deliverAlone(st, r, next)
	}
	err = errNobody
	if !in.route(o, r, deliver) {
		// Where handlers come and go, the other engine may not know of it yet.
		moved := in.opts.Replay == nil || in.opts.Deliveries.hand(l.id, in.outbox)
		return moved, errNobody
	}
	return err == nil, err
}

var errNobody = errors.New("no handler takes it on its route now")

// route leads r to where uploads from there go; false when that is another
// engine's.
func (in *Ingest) route(o origin, r *http.Request, deliver func(*http.Request, http.Handler)) bool {
	switch {
	case in.opts.Replay != nil:
		return in.opts.Replay.To(r, deliver)
	case !in.onRoute(r):
		return false
	}
	next, ok := in.handler(o.Handler)
	if ok || in.opts.Publish != nil {
		deliver(r, next)
	}
	return true
}

// deliverAlone delivers once, with nobody waiting for the answer. An error
// means that the upload was not delivered.
func (in *Ingest) deliverAlone(st resume.State, r *http.Request, next http.Handler) error {
	err := errBusy
	in.opts.Deliveries.alone(st.ID, func() protocol.Message {
		var answer protocol.Message
		answer, err = in.deliverOnce(st, r, next)
		return answer
	})
	return err
}

func (in *Ingest) deliverOnce(st resume.State, r *http.Request, next http.Handler) (answer protocol.Message, err error) {
	defer func() {
		if p := recover(); p != nil {
			answer, err = nil, fmt.Errorf("a hook panicked: %v", p)
			in.log.Error("a hook panicked over a delivery without a client", zap.String("upload", string(st.ID)), zap.Any("panic", p), zap.Stack("stack"))
		}
	}()
	began := time.Now()
	if in.opts.Deliveries.kept(st.ID) == nil { // it may have been complete before it was judged
		if e := in.judgeWhole(r, st); e != nil && e.Resumable {
			return nil, errors.New(e.Detail)
		} else if e != nil {
			return nil, final("it was refused: %s", e.Detail)
		}
	}
	answer, err = in.tryOnce(st, r, next)
	if err != nil {
		return nil, err
	}
	// What is replayed is less than the client's own request: that it is refused
	// must not be the end of the upload.
	if e, ok := answer.(*protocol.Error); ok {
		in.opts.Deliveries.forget(st.ID)
		return nil, final("it was refused: %s", e.Detail)
	}
	if err := in.store.Settle(in.work, st.ID, protocol.Encode(answer)); err != nil {
		return nil, err
	}
	in.opts.Deliveries.settled(st.ID)
	in.delivered(in.log.With(zap.String("upload", string(st.ID))), st, answer, time.Since(began))
	return answer, nil
}

// busy counts something under way that Shutdown waits for, in.active; false
// when nothing may begin any more.
func (in *Ingest) busy() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.draining || in.retired {
		return false
	}
	in.active.Add(1)
	return true
}

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
// up, in no order.
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
