package s3store

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/wsingest/wsingest/resume"
)

// reserve takes n bytes from the budget.
func (s *Store) reserve(ctx context.Context, n int64) error {
	if s.memory.TryAcquire(n) {
		return nil
	}
	s.waiting.Add(1)
	defer s.waiting.Add(-1)
	if s.making.CompareAndSwap(false, true) {
		go s.makeRoom()
	}
	if s.memory.Acquire(ctx, n) != nil {
		return resume.ErrClosed
	}
	return nil
}

// roomPause is how often the memory is looked at while somebody waits for some.
const roomPause = 20 * time.Millisecond

// makeRoom keeps a quarter of the memory on its way out while somebody waits:
// enough for many, and the objects that come of parts that are not full stay
// large.
func (s *Store) makeRoom() {
	ticker := time.NewTicker(roomPause)
	defer ticker.Stop()
	for {
		for s.waiting.Load() > 0 {
			s.pushOut(s.opts.Memory / 4)
			select {
			case <-ticker.C:
			case <-s.work.Done():
				return
			}
		}
		s.making.Store(false)
		if s.waiting.Load() == 0 || !s.making.CompareAndSwap(false, true) {
			return
		}
	}
}

// pushOut has the uploads with the most bytes in parts that are not full write
// them as objects, until so much is on its way.
func (s *Store) pushOut(bytes int64) {
	type holder struct {
		u     *upload
		idles int64
	}
	var holders []holder
	for _, u := range s.loaded() {
		u.mu.Lock()
		var idles int64
		for _, b := range u.blocks {
			if b.going || u.flush {
				bytes -= int64(cap(b.buf))
			} else {
				idles += int64(cap(b.buf))
			}
		}
		u.unlock()
		if idles > 0 {
			holders = append(holders, holder{u, idles})
		}
	}
	slices.SortFunc(holders, func(a, b holder) int { return cmp.Compare(b.idles, a.idles) })
	for _, h := range holders {
		if bytes <= 0 {
			return
		}
		bytes -= h.idles
		h.u.mu.Lock()
		if len(h.u.blocks) > 0 {
			h.u.flush = true
			h.u.wake()
		}
		h.u.unlock()
	}
}

// loaded returns the uploads in memory.
func (s *Store) loaded() (all []*upload) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range s.uploads {
		select {
		case <-u.ready:
			all = append(all, u)
		default:
		}
	}
	return all
}
