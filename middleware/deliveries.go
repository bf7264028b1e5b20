package middleware

import (
	"slices"
	"sync"
	"time"

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

	folders sync.Mutex // held by who makes folders for published files
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
