package situations

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wsingest/wsingest/resume"
)

// stalls is a disk that hangs: nothing is written for a while, first some time
// after the first write, and then again and again. The zero value never hangs.
type stalls struct{ first, stall, period time.Duration }

// disk is one that is in use.
type disk struct {
	stalls
	begin sync.Once
	began time.Time
	count atomic.Int64 // stalls that somebody waited for
	wrote atomic.Int64 // how often something was to be written: the upload goes on
}

// wait returns when the disk writes again.
func (d *disk) wait() {
	d.wrote.Add(1)
	if d.stall == 0 {
		return
	}
	d.begin.Do(func() { d.began = time.Now() })
	if in := time.Since(d.began) - d.first; in >= 0 && in%d.period < d.stall {
		d.count.Add(1)
		time.Sleep(d.stall - in%d.period)
	}
}

// watch calls hung when nothing was written for as long as limit: a machine that
// is slow is slow, and nothing hangs there that gets on. It looks until stop is
// called.
func (d *disk) watch(limit time.Duration, hung func()) (stop func()) {
	ended, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		tick := time.NewTicker(limit / 100)
		defer tick.Stop()
		seen, since := int64(0), time.Now()
		for time.Since(since) < limit {
			select {
			case <-tick.C:
			case <-ended:
				return
			}
			if n := d.wrote.Load(); n != seen {
				seen, since = n, time.Now()
			}
		}
		hung()
	}()
	return func() { close(ended); <-gone }
}

// stallStore is a store on such a disk.
type stallStore struct {
	resume.Store
	disk *disk
}

func (s *stallStore) Open(ctx context.Context, o resume.OpenOptions) (resume.Claim, error) {
	c, err := s.Store.Open(ctx, o)
	if err != nil {
		return nil, err
	}
	return &stallClaim{c, s.disk}, nil
}

type stallClaim struct {
	resume.Claim
	disk *disk
}

func (c *stallClaim) Write(p []byte) (int, error) {
	c.disk.wait()
	return c.Claim.Write(p)
}
