package caddymodule

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/wsingest/wsingest/middleware"
)

// engines are those in use, by store and options. A config is provisioned
// before the one it replaces is cleaned up, so the engine of a handler that did
// not change never stops.
var engines = caddy.NewUsagePool()

// engine is what handlers with the same options on the same store share, over
// reloads: a middleware.Ingest, and what it needs of the config that is live.
type engine struct {
	key   string
	store *store
	log   *liveLog
	tell  *eventQueue

	mu      sync.Mutex
	options middleware.Options
	ingest  *middleware.Ingest // nil: the store could not be opened yet
	unwatch func()             // its memory is told no more

	draining sync.Once
	drained  chan struct{}
}

// engineKey tells apart what can not share an engine.
func engineKey(module StoreModule, c Config) (string, error) {
	c.StoreRaw = nil // LoadModule has taken it out
	options, err := json.Marshal(struct {
		Store   any
		Options Config
	}{module, c})
	return fmt.Sprintf("%s %x", module.StoreKey(), sha256.Sum256(options)), err
}

// takeEngine returns the engine of h. It fails where h's options are nonsense,
// or its store cannot be opened; one that is in use is opened later.
func takeEngine(h *Handler) (*engine, error) {
	key, err := engineKey(h.store, h.Config)
	if err != nil {
		return nil, err
	}
	v, loaded, err := engines.LoadOrNew(key, func() (caddy.Destructor, error) {
		s, err := takeStore(h.store)
		if err != nil {
			return nil, err
		}
		e := &engine{key: key, store: s, log: new(liveLog), drained: make(chan struct{})}
		e.tell = new(eventQueue)
		e.options = h.options(e)
		e.log.set(h.log)
		if s.log.to.Load() == nil {
			s.log.set(h.log)
		}
		switch _, err := e.get(); {
		case errors.Is(err, ErrStoreInUse):
			h.log.Warn("uploads are refused until the store is free", zap.Error(err))
		case err != nil:
			return nil, errors.Join(err, s.release())
		}
		return e, nil
	})
	if err != nil {
		return nil, err
	}
	if !loaded {
		v.(*engine).store.sameOptions(h.store, h.log)
	}
	return v.(*engine), nil
}

// get returns what takes uploads, with the store open.
func (e *engine) get() (*middleware.Ingest, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ingest != nil {
		return e.ingest, nil
	}
	open, err := e.store.get()
	if err != nil {
		return nil, err
	}
	ingest, err := middleware.New(open, e.options)
	if err != nil {
		return nil, err
	}
	e.ingest = ingest
	e.unwatch = counted.Watch(ingest)
	return ingest, nil
}

func (e *engine) running() *middleware.Ingest {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.ingest
}

// Destruct is called when the last handler with e's options was cleaned up. On
// exit it is the last that can wait; after a reload nothing waits: full clients
// are sent to the handlers that came instead, plain ones go on to their end.
func (e *engine) Destruct() error {
	if caddy.Exiting() {
		e.drain(defaultGrace)
		<-e.drained
		return e.store.release()
	}
	retired.add(e)
	go e.retire()
	return nil
}

func (e *engine) retire() {
	defer retired.remove(e)
	if in := e.running(); in != nil {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		go func() {
			select {
			case <-e.drained: // Caddy stops
				cancel()
			case <-ctx.Done():
			}
		}()
		_ = in.Retire(ctx) // fails only when drained, and that has logged it
		e.unwatch()
	}
	if err := e.store.release(); err != nil {
		e.log.logger().Error("closing the store of uploads", zap.Error(err))
	}
}

// drain ends every connection within a bound, and has e.drained closed when
// that is done. It does not wait; only the first call counts.
func (e *engine) drain(within time.Duration) {
	e.draining.Do(func() {
		go func() {
			defer close(e.drained)
			in := e.running()
			if in == nil {
				return
			}
			ctx, cancel := context.WithTimeout(context.Background(), within)
			defer cancel()
			if err := in.Shutdown(ctx); err != nil {
				e.log.logger().Warn("uploads were cut off; what was acknowledged is safe", zap.Error(err))
			}
		}()
	})
}

// defaultGrace bounds the drain where the config sets no grace_period. What
// takes time is syncing to a busy disk, and deliveries under way.
const defaultGrace = 10 * time.Second

// retired are the engines that no handler has any more, and whose last plain
// clients are still at it.
var retired = &engineSet{gone: make(map[*engine]chan struct{})}

type engineSet struct {
	mu   sync.Mutex
	gone map[*engine]chan struct{} // closed when the engine is
}

func (s *engineSet) add(e *engine) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone[e] = make(chan struct{})
}

func (s *engineSet) remove(e *engine) {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.gone[e])
	delete(s.gone, e)
}

func (s *engineSet) all() []*engine {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.gone))
}

// drain ends what is left of them when Caddy exits: there is no handler to do
// it.
func (s *engineSet) drain(context.Context) {
	s.mu.Lock()
	left := maps.Clone(s.gone)
	s.mu.Unlock()
	for e := range left {
		e.drain(defaultGrace)
	}
	for _, gone := range left {
		<-gone
	}
}

func init() { caddy.OnExit(retired.drain) }
