package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
	"go.uber.org/zap"

	"github.com/wsingest/wsingest/middleware/protocol"
)

// retrier decides how a connection's end is taken: is it final, and how long
// to wait before the next one. It belongs to the goroutine that dials.
type retrier struct {
	o         Retry
	log       *zap.Logger
	backoff   *backoff.ExponentialBackOff
	tries     int       // failures in a row without progress
	since     time.Time // of the last progress
	connected bool      // ever

	progress atomic.Int64 // counted up by whoever sees some
	seen     int64
}

func newRetrier(o Retry, log *zap.Logger) *retrier {
	return &retrier{o: o, log: log, since: time.Now(), backoff: &backoff.ExponentialBackOff{
		InitialInterval: o.MinDelay, MaxInterval: o.MaxDelay, Multiplier: 2, RandomizationFactor: 0.5,
	}}
}

// reset begins anew: there was nothing to do for a while, or there was
// progress.
func (r *retrier) reset() {
	r.tries, r.since = 0, time.Now()
	r.backoff.Reset()
}

// next returns the pause before the next attempt after one that ended with
// err, or the error to give up with.
func (r *retrier) next(err error) (time.Duration, error) {
	if n := r.progress.Load(); n != r.seen {
		r.seen = n
		r.reset()
	}
	var dns *net.DNSError
	if isFinal(err) || !r.connected && errors.As(err, &dns) && dns.IsNotFound {
		return 0, err
	}
	pause := r.backoff.NextBackOff()
	after, asked := askedToWait(err)
	if asked {
		// Not all clients of a server that restarts come back at once.
		pause = after + rand.N(after/10+r.o.MinDelay)
	} else {
		r.tries++
	}
	if r.o.MaxTries > 0 && r.tries >= r.o.MaxTries {
		return 0, fmt.Errorf("%w after %d tries: %w", ErrGaveUp, r.tries, err)
	}
	if limit := r.o.GiveUpAfter; limit > 0 && time.Since(r.since)+pause > limit {
		return 0, fmt.Errorf("%w: no progress, and none to be expected, within %v: %w", ErrGaveUp, limit, err)
	}
	r.log.Warn("connection ended, will retry", zap.Error(err), zap.Duration("pause", pause))
	if r.o.OnRetry != nil {
		r.o.OnRetry(err, pause)
	}
	return pause, nil
}

// askedToWait returns how long the server asked to stay away.
func askedToWait(err error) (time.Duration, bool) {
	var refused *RefusedError
	var server *protocol.Error
	var away *goaway
	switch {
	case errors.As(err, &refused):
		return refused.RetryAfter, refused.RetryAfter > 0
	case errors.As(err, &server):
		return time.Duration(server.RetryAfterMS) * time.Millisecond, server.RetryAfterMS > 0
	case errors.As(err, &away):
		return away.after, true
	}
	return 0, false
}

// retrying calls attempt until it succeeds or fails for good.
func (c *Client) retrying(ctx context.Context, attempt func(*retrier) error) error {
	r := newRetrier(c.o.Retry, c.log)
	for {
		err := attempt(r)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if server, ok := isVerdict(err); ok {
			return fromServer(server)
		}
		pause, err := r.next(err)
		if err != nil {
			return err
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		}
	}
}
