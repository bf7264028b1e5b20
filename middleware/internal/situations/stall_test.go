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
}

// wait returns when the disk writes again.
func (d *disk) wait() {
	if d.stall == 0 {
		return
	}
	d.begin.Do(func() { d.began = time.Now() })
	if in := time.Since(d.began) - d.first; in >= 0 && in%d.period < d.stall {
		d.count.Add(1)
		time.Sleep(d.stall - in%d.period)
	}
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
