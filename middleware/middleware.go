package middleware

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/wsingest/wsingest/middleware/internal/flow"
	"github.com/wsingest/wsingest/resume"
	"github.com/wsingest/wsingest/resume/logqueue"
)

// Ingest is the engine behind any number of wrapped handlers. It has
// goroutines only while it has connections or deliveries.
type Ingest struct {
	store     resume.Store
	opts      Options
	log       *zap.Logger
	lines     *logqueue.Queue
	routes    *http.ServeMux // nil: every upgrade is an upload
	outbox    *outbox
	budget    *budget
	quota     *quota          // nil: none
	bandwidth *bandwidthLimit // nil: none
	refused   refusedHeads
	pace      *flow.Pace
	clock     clock

	// work ends when Shutdown gives up waiting: what still runs is cut off.
	// serving, within it, ends when Shutdown begins, and current, within that,
	// when Retire does.
	work, serving, current  context.Context
	cutOff, stop, succeeded context.CancelFunc

	mu                 sync.Mutex
	draining           bool
	retired            bool
	sessions           map[*session]struct{}
	ofAddress, ofOwner crowd
	active             sync.WaitGroup // one per session, until nothing of it runs any more, and per delivery without one
	handlers           []http.Handler // that Wrap was given, in order
}

// New returns an engine that keeps uploads in store. The error names the
// option that is wrong and the range allowed.
func New(store resume.Store, o Options) (*Ingest, error) {
	if store == nil {
		return nil, errors.New("wsingest: no store given, expected for example one of filestore.New")
	}
	o, err := o.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("wsingest: %w", err)
	}
	if err := canPublish(store, o.Publish); err != nil {
		return nil, fmt.Errorf("wsingest: %w", err)
	}
	routes, err := parseRoutes(o.Routes)
	if err != nil {
		return nil, fmt.Errorf("wsingest: %w", err)
	}
	log, lines := logqueue.New(o.Logger)
	in := &Ingest{
		store:     store,
		opts:      o,
		log:       log,
		lines:     lines,
		routes:    routes,
		budget:    newBudget(o.Memory),
		pace:      flow.NewPace(o.Keepalive.Timeout),
		clock:     newClock(),
		sessions:  make(map[*session]struct{}),
		ofAddress: newCrowd(o.MaxConnectionsPerAddress),
		ofOwner:   newCrowd(o.MaxConnectionsPerOwner),
	}
	in.quota = newQuota(store, o)
	in.bandwidth = newBandwidthLimit(o.Bandwidth, in.clock)
	in.work, in.cutOff = context.WithCancel(context.Background())
	in.serving, in.stop = context.WithCancel(in.work)
	in.current, in.succeeded = context.WithCancel(in.serving)
	in.outbox = &outbox{in: in, letters: make(map[resume.ID]*letter)}
	if o.Publish != nil || o.Replay != nil { // else there is nobody to deliver to before Wrap
		in.outbox.start()
	}
	return in, nil
}

// parseRoutes puts the patterns into a mux of their own, which is only ever
// asked whether a request matches. ServeMux panics on a bad pattern, or on two
// that conflict.
func parseRoutes(patterns []string) (mux *http.ServeMux, err error) {
	if len(patterns) == 0 {
		return nil, nil
	}
	pattern := ""
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("option Routes: %q is not a pattern of http.ServeMux: %v", pattern, r)
		}
	}()
	mux = http.NewServeMux()
	for _, pattern = range patterns {
		mux.Handle(pattern, onRoute{})
	}
	return mux, nil
}

// onRoute marks a route; it never serves.
type onRoute struct{}

func (onRoute) ServeHTTP(http.ResponseWriter, *http.Request) {}

// Wrap returns a handler that takes uploads in front of next. It is a
// func(http.Handler) http.Handler, as routers expect of a middleware.
//
// The first call has complete uploads delivered that are in the store from
// before. Where several handlers are wrapped, an upload goes to the one it came
// for, told by the order of the calls: it has to be the same after a restart,
// or else [Options.Replay] has to say where uploads go.
func (in *Ingest) Wrap(next http.Handler) http.Handler {
	handler := in.wrapped(next)
	in.outbox.start()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !IsUpgrade(r) || !in.onRoute(r) {
			next.ServeHTTP(w, r)
			return
		}
		in.serve(w, r, next, handler)
	})
}

// maxHandlers bounds the handlers that are told apart, where somebody calls
// Wrap for each request.
const maxHandlers = 1000

// wrapped remembers a handler, and returns which it is.
func (in *Ingest) wrapped(next http.Handler) int {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.opts.Replay == nil && len(in.handlers) < maxHandlers {
		in.handlers = append(in.handlers, next)
		return len(in.handlers) - 1
	}
	return -1
}

// handler returns the n-th handler that was wrapped.
func (in *Ingest) handler(n int) (next http.Handler, ok bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if n < 0 || n >= len(in.handlers) {
		return nil, false
	}
	return in.handlers[n], in.handlers[n] != nil
}

func (in *Ingest) onRoute(r *http.Request) bool {
	if in.routes == nil {
		return true
	}
	h, _ := in.routes.Handler(r)
	_, ok := h.(onRoute)
	return ok
}

// Shutdown ends every connection in good order: what was received is made
// durable, full clients are told to go away and come back (goaway), and the
// sockets close with 1012. Deliveries under way are waited for. New upgrades
// are refused with 503 from now on. It returns nil when nothing is left
// running; when ctx ends first, the rest is cut off, and the error is that of
// ctx. The store is the caller's to close afterwards.
func (in *Ingest) Shutdown(ctx context.Context) error {
	defer in.lines.Flush()
	in.outbox.close()
	done := in.sendAway(&in.draining, in.stop, func(*session) bool { return true })
	if in.ended(ctx, done) {
		return nil
	}
	in.cutOff()
	in.mu.Lock()
	for s := range in.sessions {
		s.cut()
	}
	in.mu.Unlock()
	select {
	case <-done:
	case <-time.After(cutOffGrace):
		// Something outside our hands hangs: a write to a dead disk, or the app's
		// handler. There is no way to end it from here.
	}
	return fmt.Errorf("wsingest: shutdown: connections were cut off: %w", context.Cause(ctx))
}

// Retire is for an engine in whose place another one has come on the same
// store: full clients are told to go away and come back (goaway), which takes
// them to the new one; plain clients, which know no such thing, go on to the
// end of their uploads. New upgrades are refused with 503 from now on, and
// a full client's delivery that fails is not tried again here: the new engine
// does that, with the client or without. It returns when nothing is
// left running, or with the error of ctx when that ends first: then Shutdown
// may still be called.
func (in *Ingest) Retire(ctx context.Context) error {
	defer in.lines.Flush()
	in.outbox.close()
	done := in.sendAway(&in.retired, in.succeeded, func(s *session) bool { return s.full })
	if in.ended(ctx, done) {
		return nil
	}
	return context.Cause(ctx)
}

// sendAway refuses newcomers from now on, for the reason that is set, and
// drains those sessions that are to go. What it returns is closed when no
// session is left.
func (in *Ingest) sendAway(reason *bool, note func(), goes func(*session) bool) <-chan struct{} {
	in.mu.Lock()
	*reason = true
	note()
	for s := range in.sessions {
		if goes(s) {
			s.drain()
		}
	}
	in.mu.Unlock()
	done := make(chan struct{})
	go func() {
		in.active.Wait()
		close(done)
	}()
	return done
}

// ended waits for done, and then ends what an engine without sessions has no
// use for; false when ctx ends first.
func (in *Ingest) ended(ctx context.Context, done <-chan struct{}) bool {
	select {
	case <-done:
		in.cutOff()
		return true
	case <-ctx.Done():
		return false
	}
}

// cutOffGrace bounds how long Shutdown waits for what it has cut off.
const cutOffGrace = time.Second

// clock counts from its making, monotonically: an int64 of nanoseconds fits
// into an atomic, a time.Time does not.
type clock struct{ start time.Time }

func newClock() clock { return clock{time.Now()} }

func (c clock) now() time.Duration { return time.Since(c.start) }
