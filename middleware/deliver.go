package middleware

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"go.uber.org/zap"

	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/resume"
)

// Deliveries are those under way. However many connections ask, there is one
// of an upload at a time. Engines that work on the same store share one; see
// [Options.Deliveries]. The zero value is ready.
type Deliveries struct {
	mu      sync.Mutex
	running map[resume.ID]*delivery
	taken   map[resume.ID]protocol.Message // what the app said, while that is not recorded yet
	boxes   []*outbox
}

type delivery struct {
	done   chan struct{}
	answer protocol.Message // nil: one without a client, that failed
}

// once calls deliver, or waits for the call that another connection made, and
// returns its answer; nil when gone is closed while it waits.
func (ds *Deliveries) once(id resume.ID, gone <-chan struct{}, deliver func() protocol.Message) protocol.Message {
	for {
		d, ours := ds.enter(id)
		if ours {
			return ds.run(id, d, deliver)
		}
		select {
		case <-d.done:
			if d.answer != nil {
				return d.answer
			}
		case <-gone:
			return nil
		}
	}
}

// alone calls deliver, unless the upload is being delivered already.
func (ds *Deliveries) alone(id resume.ID, deliver func() protocol.Message) {
	if d, ours := ds.enter(id); ours {
		ds.run(id, d, deliver)
	}
}

// enter returns the delivery of id, and whether it is the caller's to run.
func (ds *Deliveries) enter(id resume.ID) (d *delivery, ours bool) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	if d, ok := ds.running[id]; ok {
		return d, false
	}
	if ds.running == nil {
		ds.running = make(map[resume.ID]*delivery)
	}
	d = &delivery{done: make(chan struct{})}
	ds.running[id] = d
	return d, true
}

func (ds *Deliveries) run(id resume.ID, d *delivery, deliver func() protocol.Message) protocol.Message {
	d.answer = deliver()
	ds.mu.Lock()
	delete(ds.running, id)
	ds.mu.Unlock()
	close(d.done)
	return d.answer
}

func (ds *Deliveries) attach(b *outbox) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	ds.boxes = append(ds.boxes, b)
}

func (ds *Deliveries) detach(b *outbox) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	ds.boxes = slices.DeleteFunc(slices.Clone(ds.boxes), func(o *outbox) bool { return o == b })
}

func (ds *Deliveries) attached() []*outbox {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	return ds.boxes
}

// hand gives an upload that was not delivered to the outboxes, but for that
// which it comes from, and reports whether there are any.
func (ds *Deliveries) hand(id resume.ID, from *outbox) (there bool) {
	for _, b := range ds.attached() {
		if b != from {
			b.add(id, time.Now().Add(firstRetry))
			there = true
		}
	}
	return there
}

// keep remembers what the app said of an upload, so that it is not asked again
// where something behind it fails.
func (ds *Deliveries) keep(id resume.ID, answer protocol.Message) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	if ds.taken == nil {
		ds.taken = make(map[resume.ID]protocol.Message)
	}
	ds.taken[id] = answer
}

func (ds *Deliveries) kept(id resume.ID) protocol.Message {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	return ds.taken[id]
}

func (ds *Deliveries) forget(id resume.ID) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	delete(ds.taken, id)
}

// settled: what became of the upload is recorded.
func (ds *Deliveries) settled(id resume.ID) {
	ds.forget(id)
	for _, b := range ds.attached() {
		b.drop(id)
	}
}

// deliver brings a complete upload to its app or its directory, if that has
// not happened yet, and returns what its client is told: a done or an error.
// nil when the client has gone, and another connection is at it. judged says
// that its head was judged already.
func (in *Ingest) deliver(s *session, st resume.State, judged bool) protocol.Message {
	return in.opts.Deliveries.once(st.ID, s.gone, func() (answer protocol.Message) {
		defer func() {
			if p := recover(); p != nil {
				answer = s.hookPanicked(st.ID, p)
			}
			if e, ok := answer.(*protocol.Error); ok && e.Code != protocol.Rejected {
				in.opts.Deliveries.hand(st.ID, nil)
			}
		}()
		return in.deliverNow(s, st.ID, judged)
	})
}

// deliverNow tries until somebody has taken the upload, for Options.DeliverFor
// at most. The result is stored before anybody hears of it, so that it is the
// same however often it is asked for.
func (in *Ingest) deliverNow(s *session, id resume.ID, judged bool) protocol.Message {
	log := s.log.With(zap.String("upload", string(id)))
	st, err := in.store.Stat(in.work, id)
	if err != nil {
		log.Error("an upload that is complete cannot be read", zap.Error(err))
		return refusal(id, err)
	}
	if st.Phase == resume.Delivered {
		m, err := protocol.DecodeServer(st.Result)
		if err != nil {
			log.Error("the recorded answer cannot be read", zap.Error(err))
			return refusal(id, err)
		}
		return m
	}
	began := time.Now()
	if !judged && in.opts.Deliveries.kept(st.ID) == nil {
		if e := in.judgeWhole(s.req, st); e != nil && e.Resumable {
			return e // nobody could say
		} else if e != nil {
			in.opts.Deliveries.keep(st.ID, e)
		}
	}
	attempt := func() (protocol.Message, error) {
		m, err := in.tryOnce(st, s.req, s.next)
		if err != nil {
			log.Warn("delivery failed, trying again", zap.Error(err))
		}
		return m, err
	}
	// A full client comes back, to an engine's successor too. A plain one does
	// not: nobody else would try for it.
	again := in.current
	if !s.full {
		again = in.serving
	}
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.MaxInterval = firstRetry, maxRetry
	answer, err := backoff.Retry(again, attempt, backoff.WithBackOff(wait), backoff.WithMaxElapsedTime(in.opts.DeliverFor))
	if err != nil {
		log.Error("delivery failed for now: the upload stays complete, and is tried again without its client", zap.Error(err))
		if again.Err() != nil {
			return refusal(id, context.Canceled)
		}
		return &protocol.Error{ID: string(id), Code: protocol.Overloaded, Resumable: true, RetryAfterMS: maxRetry.Milliseconds(),
			Detail: "The upload is complete and safe, but the app behind the server does not take it now. Open it again later to hear its answer."}
	}
	if err := in.store.Settle(in.work, id, protocol.Encode(answer)); err != nil {
		log.Error("the app's answer could not be recorded now", zap.Error(err))
		return refusal(id, err)
	}
	in.opts.Deliveries.settled(id)
	in.delivered(log, st, answer, time.Since(began))
	return answer
}

// tryOnce delivers, and has that confirmed. The app is not asked twice for the
// sake of Confirm.
func (in *Ingest) tryOnce(st resume.State, r *http.Request, next http.Handler) (protocol.Message, error) {
	answer := in.opts.Deliveries.kept(st.ID)
	if answer == nil {
		var err error
		if answer, err = in.attempt(r, next, st); err != nil {
			return nil, err
		}
		in.opts.Deliveries.keep(st.ID, answer)
	}
	return answer, in.confirm(st, answer)
}

// confirm tells Options.Confirm that the upload was taken.
func (in *Ingest) confirm(st resume.State, answer protocol.Message) error {
	done, ok := answer.(*protocol.Done)
	if !ok || in.opts.Confirm == nil {
		return nil
	}
	taken := Taken{State: st, Location: done.Location}
	if done.Response != nil {
		taken.Status = done.Response.Status
	}
	return in.opts.Confirm(in.work, taken)
}

const (
	firstRetry = 200 * time.Millisecond
	maxRetry   = 30 * time.Second
)

func (in *Ingest) delivered(log *zap.Logger, st resume.State, answer protocol.Message, took time.Duration) {
	if e, ok := answer.(*protocol.Error); ok {
		log.Info("upload rejected", zap.String("detail", e.Detail), zap.Duration("took", took))
		in.opts.Observer(Event{Kind: Rejected, ID: st.ID, Owner: st.Owner, State: &st, Code: e.Code, Bytes: st.Length, Duration: took})
		return
	}
	log.Info("upload delivered", zap.Duration("took", took))
	in.opts.Observer(Event{Kind: Delivered, ID: st.ID, Owner: st.Owner, State: &st, Bytes: st.Length, Duration: took})
	if in.opts.OnComplete != nil {
		in.opts.OnComplete(in.work, st)
	}
}

// attempt delivers once. An error means that trying again may help.
func (in *Ingest) attempt(r *http.Request, next http.Handler, st resume.State) (protocol.Message, error) {
	if in.opts.Publish != nil {
		return in.publish(r, st)
	}
	content, err := in.store.Content(in.work, st.ID)
	if err != nil {
		return nil, err
	}
	defer content.Close()
	response, err := in.handOver(r, next, st, content)
	switch {
	case err != nil:
		return nil, err
	case passing(response.Status):
		err := fmt.Errorf("the app answered %d %s", response.Status, http.StatusText(response.Status))
		if wait := retryAfter(response); wait > 0 {
			return nil, errors.Join(err, backoff.RetryAfter(wait))
		}
		return nil, err
	case response.Status >= 400:
		return fit(&protocol.Error{ID: string(st.ID), Code: protocol.Rejected, Response: response,
			Detail: fmt.Sprintf("The app behind the server refused the file: %d %s.", response.Status, http.StatusText(response.Status))}, response), nil
	}
	done := doneOf(st)
	done.Response = response
	return fit(done, response), nil
}

// passing reports whether a status says that the same request may succeed
// later (RFC 9110, section 15; 425 is RFC 8470, 429 RFC 6585).
func passing(status int) bool {
	return status >= 500 || status == http.StatusRequestTimeout || status == http.StatusTooEarly || status == http.StatusTooManyRequests
}

func doneOf(st resume.State) *protocol.Done {
	d := &protocol.Done{ID: string(st.ID), Length: st.Length, Digest: &protocol.Digest{SHA256: st.SHA256}}
	if crc, ok := st.CRC32C(); ok {
		d.Digest.CRC32C = (*protocol.CRC32C)(&crc)
	}
	return d
}
