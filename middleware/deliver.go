package middleware

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/cenkalti/backoff/v5"
	"go.uber.org/zap"

	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/resume"
)

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
	// A full client comes back, to an engine's successor too. A plain one does
	// not: nobody else would try for it.
	again := in.current
	if !s.full {
		again = in.serving
	}
	release, err := in.waitForLease(again, id)
	if err != nil {
		log.Warn("an upload that is complete cannot be delivered now", zap.Error(err))
		return refusal(id, err)
	}
	defer release()
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
	answer, err := backoff.Retry(again, attempt, backoff.WithBackOff(newBackOff()), backoff.WithMaxElapsedTime(in.opts.DeliverFor))
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
	in.settled(st)
	in.delivered(log, st, answer, time.Since(began))
	return answer
}

// tryOnce delivers, and has that confirmed. The app is not asked twice for the
// sake of Confirm.
func (in *Ingest) tryOnce(st resume.State, r *http.Request, next http.Handler) (protocol.Message, error) {
	began := time.Now()
	tried := func(o Outcome) {
		in.opts.Observer(Event{Kind: Attempted, ID: st.ID, Owner: st.Owner, State: &st, Outcome: o, Duration: time.Since(began)})
	}
	answer := in.opts.Deliveries.kept(st.ID)
	if answer == nil {
		var err error
		if answer, err = in.attempt(r, next, st); err != nil {
			tried(OutcomeFailed)
			return nil, err
		}
		in.opts.Deliveries.keep(st.ID, answer)
	}
	err := in.confirm(st, answer)
	switch _, refused := answer.(*protocol.Error); {
	case refused:
		tried(OutcomeRefused)
	case err != nil:
		tried(OutcomeUnconfirmed)
	default:
		tried(OutcomeTaken)
	}
	return answer, err
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

// newBackOff returns the waits between the tries of one delivery.
func newBackOff() *backoff.ExponentialBackOff {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval, b.MaxInterval = firstRetry, maxRetry
	return b
}

// settled forgets what was kept of an upload for its delivery, and what it took.
func (in *Ingest) settled(st resume.State) {
	in.opts.Deliveries.settled(st.ID)
	in.quota.settle(st.ID, st.Owner)
}

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
			return nil, fmt.Errorf("%w: %w", err, backoff.RetryAfter(wait)) // one line of a log
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
