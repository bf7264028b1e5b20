package middleware

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/resume"
)

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
	r = r.WithContext(context.WithValue(r.Context(), replayed{}, st))
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

type replayed struct{}

// ReplayedFrom returns the upload that a request was made for which
// [Replay.To] got; ok is false of another request.
func ReplayedFrom(r *http.Request) (st resume.State, ok bool) {
	st, ok = r.Context().Value(replayed{}).(resume.State)
	return st, ok
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
	release, err := in.lease(st.ID)
	if err != nil {
		return nil, err
	}
	defer release()
	if st, err = in.store.Stat(in.work, st.ID); err != nil || st.Phase != resume.Complete {
		return nil, errors.Join(err, errBusy) // another process was quicker
	}
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
	in.settled(st)
	in.delivered(in.log.With(zap.String("upload", string(st.ID))), st, answer, time.Since(began))
	return answer, nil
}
