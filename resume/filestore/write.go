package filestore

import (
	"context"
	"errors"
	"io"

	"github.com/wsingest/wsingest/resume"
	"github.com/wsingest/wsingest/resume/internal/rules"
)

// Write implements [resume.Claim].
func (c *claim) Write(p []byte) (n int, err error) { return c.write(p, nil) }

// WriteSum implements [resume.SumWriter]. The sum saves going over p a second
// time, when the write has driven it out of the processor's cache.
func (c *claim) WriteSum(p []byte, crc uint32) (n int, err error) { return c.write(p, &crc) }

// write takes in p, whose CRC-32C is *sum if that is known. The trip to the
// file is made without a lock. Nothing is allocated.
func (c *claim) write(p []byte, sum *uint32) (n int, err error) {
	size := len(p)
	for {
		s, err := c.begin(p, n == 0 && len(p) == size)
		if err != nil {
			return n, err
		}
		n += s.passed
		p = p[s.passed:]
		if s.size == 0 {
			return n, nil
		}
		k, err := 0, error(nil)
		if s.growing {
			err = c.u.store.space.roomFor(s.size)
		}
		if err == nil {
			k, err = s.file.WriteAt(p[:s.size], s.off)
		}
		if k < size {
			sum = nil // it is that of all of p
		}
		if err = c.tookIn(s, k, s.summed(p[:k], sum), err); err != nil {
			return n + k, err
		}
		n += k
		if p = p[k:]; len(p) == 0 {
			return n, nil
		}
	}
}

// stretch is the next piece of a write.
type stretch struct {
	passed int // bytes that are held already
	off    int64
	size   int // bytes that go to the file behind them
	file   io.WriterAt
	crc    uint32 // of the run so far
	// growing: no space was set aside, since the length is not known
	growing bool
}

// summed returns the checksum of the run when p has come to it, whose own is
// *sum if that is known.
func (s stretch) summed(p []byte, sum *uint32) uint32 {
	if sum != nil {
		return resume.CombineCRC32C(s.crc, *sum, int64(len(p)))
	}
	return resume.UpdateCRC32C(s.crc, p)
}

// begin finds what is to be done with the first bytes of p, and declares a
// write under way if some go to the file.
func (c *claim) begin(p []byte, first bool) (s stretch, err error) {
	u := c.u
	u.mu.Lock()
	defer u.unlock()
	// A record that names bytes which were dropped must be gone from the disk
	// before others are written over them.
	for c.err == nil && !u.commit.full && u.commit.done < u.commit.hold {
		if err := u.wait(context.Background()); err != nil {
			return s, err
		}
	}
	if err := c.check(len(p), first); err != nil {
		return s, err
	}
	c.wrote = true
	if c.gapEnd == c.cursor { // at the end of a gap
		end := min(u.base.EndFrom(c.cursor), c.cursor+int64(len(p)))
		s.passed = int(end - c.cursor)
		c.cursor = end
		c.findGap()
	}
	s.off = c.cursor
	s.size = int(min(int64(len(p)-s.passed), c.gapEnd-c.cursor))
	if s.size == 0 {
		return s, nil
	}
	if err := c.openRun(); err != nil {
		return stretch{}, err
	}
	s.file, s.growing = u.part, u.info.Length < 0
	s.crc = c.runs[len(c.runs)-1].CRC32C
	c.writing = true
	return s, nil
}

// check says why n bytes cannot be written at the cursor.
func (c *claim) check(n int, first bool) error {
	u := c.u
	switch {
	case c.err != nil:
		return c.err
	case u.next.phase != resume.Receiving:
		return u.wrap(resume.ErrComplete)
	case u.commit.full:
		return u.wrap(resume.ErrNoSpace)
	case !first:
		return nil
	}
	return u.wrapNil(rules.Fits(n, c.cursor, c.rng, u.info.Length))
}

// openRun makes sure that the last run ends at the cursor.
func (c *claim) openRun() error {
	u := c.u
	if k := len(c.runs); k > 0 && c.runs[k-1].End == c.cursor {
		return nil
	}
	n := len(u.base)
	for _, o := range u.claims {
		n += len(o.runs)
	}
	at := resume.Range{Start: c.cursor, End: c.cursor}
	// Runs of different claims that touch are one in the end: count those only
	// when it matters.
	if n >= resume.MaxExtents && len(u.received()) >= resume.MaxExtents && !u.touches(c.cursor) {
		return u.wrap(resume.ErrTooManyGaps)
	}
	c.runs = append(c.runs, resume.Extent{Range: at})
	return nil
}

// touches reports whether a run at off would continue bytes that are held.
func (u *upload) touches(off int64) bool {
	return off > 0 && u.received().EndFrom(off-1) == off
}

// tookIn counts n bytes that are in the file now.
func (c *claim) tookIn(s stretch, n int, crc uint32, err error) error {
	u := c.u
	u.mu.Lock()
	defer u.unlock()
	c.writing = false
	run := &c.runs[len(c.runs)-1]
	run.End += int64(n)
	run.CRC32C = crc
	c.cursor = run.End
	u.promise = u.store.space.take(u.promise, int64(n))
	if n > 0 && u.dead == nil {
		u.written(int64(n))
		u.follow()
	}
	u.wake()
	if err != nil {
		if err = storageError(err); !errors.Is(err, resume.ErrNoSpace) {
			u.fail(err)
		}
		err = u.wrap(err)
	}
	if c.err != nil && !c.detached {
		c.detach()
	}
	return err
}
