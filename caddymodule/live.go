package caddymodule

import (
	"slices"
	"sync"
)

// live are the handlers provisioned and not cleaned up, oldest first. For a
// moment of every reload these are those of two configs.
var live liveHandlers

type liveHandlers struct {
	mu   sync.Mutex
	list []*Handler
}

func (l *liveHandlers) add(h *Handler) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, h)
	l.route(h)
}

func (l *liveHandlers) remove(h *Handler) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := slices.Index(l.list, h); i >= 0 {
		l.list = slices.Delete(l.list, i, i+1)
		l.route(h)
	}
}

// route has the engine and the store of h log and tell events through their
// newest handler; mu is held.
func (l *liveHandlers) route(h *Handler) {
	ofStore := l.newest(func(o *Handler) bool { return o.engine.store == h.engine.store })
	ofEngine := l.newest(func(o *Handler) bool { return o.engine == h.engine })
	if ofEngine == nil { // retired: what its last clients do is still told
		ofEngine = ofStore
	}
	if ofStore == nil {
		h.engine.store.log.set(nil)
		h.engine.log.set(nil)
	} else {
		h.engine.store.log.set(ofStore.log)
		h.engine.log.set(ofEngine.log)
	}
	h.engine.tell.through.Store(ofEngine)
	h.engine.store.tell.through.Store(ofStore)
}

func (l *liveHandlers) newest(fits func(*Handler) bool) *Handler {
	for _, h := range slices.Backward(l.list) {
		if fits(h) {
			return h
		}
	}
	return nil
}
