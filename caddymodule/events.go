package caddymodule

import (
	"sync"
	"sync/atomic"

	"github.com/wsingest/wsingest/middleware"
	"github.com/wsingest/wsingest/resume"
)

// eventNames are the events of Caddy's events app that there are.
var eventNames = map[middleware.EventKind]string{
	middleware.Opened:    "ws_ingest.opened",
	middleware.Resumed:   "ws_ingest.resumed",
	middleware.Completed: "ws_ingest.completed",
	middleware.Rejected:  "ws_ingest.rejected",
}

const expiredEvent = "ws_ingest.expired"

// eventQueue takes what happens to uploads to the events app of the live
// config. Its handlers may take their time, which a transfer must not wait
// for: so they are told one after the other, by a goroutine that is there only
// while there is something to tell.
type eventQueue struct {
	through atomic.Pointer[Handler] // nil: nobody is live

	mu      sync.Mutex
	waiting []event
	telling bool
}

type event struct {
	name string
	data map[string]any
}

// maxEvents bounds the events that wait. More are dropped, and logged.
const maxEvents = 1024

func (q *eventQueue) emit(name string, st resume.State) {
	h := q.through.Load()
	if h == nil || h.events == nil {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) == maxEvents {
		h.log.Warn("the handlers of events do not keep up: an event was dropped")
		return
	}
	q.waiting = append(q.waiting, event{name, eventData(st)})
	if !q.telling {
		q.telling = true
		go q.run()
	}
}

func (q *eventQueue) run() {
	for {
		q.mu.Lock()
		if len(q.waiting) == 0 {
			q.waiting, q.telling = nil, false
			q.mu.Unlock()
			return
		}
		next := q.waiting[0]
		q.waiting = q.waiting[1:]
		q.mu.Unlock()
		// A config's context ends with it: what was queued under one is told to
		// the next.
		if h := q.through.Load(); h != nil {
			h.events.Emit(h.ctx, next.name, next.data)
		}
	}
}

// observe is the engine's middleware.Options.Observer.
func (e *engine) observe(ev middleware.Event) {
	counted.Observe(ev)
	if name, ok := eventNames[ev.Kind]; ok && ev.State != nil {
		e.tell.emit(name, *ev.State)
	}
}
