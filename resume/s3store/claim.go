package s3store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/wsingest/wsingest/resume"
	"github.com/wsingest/wsingest/resume/internal/rules"
)

// claim is a [resume.Claim]. All but its constants is guarded by the upload's
// mu.
type claim struct {
	u   *upload
	rng resume.Range

	notify   func()
	notifyMu sync.Mutex // calls of notify come one at a time

	live context.Context // over when the claim is
	over context.CancelFunc

	err           error // why it ended, with the upload's id; nil while it lives
	ended         time.Time
	wrote         bool
	start, cursor int64
	gapEnd        int64 // bytes from cursor up to here are missing
	arrived       int64 // bytes of it that the storage has taken

	// What was taken in since the last checkpoint can be taken back: fresh, as
	// far as it is durable, and the blocks of this generation.
	checked int64
	gen     int
	hash    *hashMark // at the checkpoint
	fresh   resume.Extents
}

var (
	_ resume.Claim     = (*claim)(nil)
	_ resume.SumWriter = (*claim)(nil)
)

// claim adds a claim on what no live claim overlaps.
func (u *upload) claim(o resume.OpenOptions) *claim {
	c := &claim{u: u, rng: o.Range, notify: o.Notify}
	c.live, c.over = context.WithCancel(u.store.work)
	c.start = min(u.received().EndFrom(o.Range.Start), o.Range.End)
	c.cursor, c.checked = c.start, c.start
	c.findGap()
	if u.info.WantSHA256 {
		c.hash = u.hash.mark()
	}
	u.claims = append(u.claims, c)
	u.share()
	u.retain()
	u.log.Debug("upload opened", zap.Stringer("range", c.rng), zap.Int64("cursor", c.cursor), zap.Uint64("epoch", u.epoch))
	return c
}

// findGap sets gapEnd. What others hold in a claim's range does not change
// while it lives, so this is needed only when the cursor jumps.
func (c *claim) findGap() {
	received := c.u.received()
	c.gapEnd = c.cursor
	if received.EndFrom(c.cursor) == c.cursor {
		c.gapEnd = received.NextFrom(c.cursor)
	}
}

// end takes the claim's rights away. What it took in is the upload's now. It
// may be the last reference.
func (c *claim) end(err error) {
	if c.err != nil {
		return
	}
	u := c.u
	c.err = u.wrap(err)
	c.over()
	u.log.Debug("connection's claim ended", zap.Stringer("range", c.rng), zap.Int64("cursor", c.cursor), zap.NamedError("reason", err))
	for i, o := range u.claims {
		if o == c {
			u.claims = append(u.claims[:i:i], u.claims[i+1:]...)
			break
		}
	}
	u.share()
	u.stored = rules.Union(u.stored, c.fresh)
	c.fresh = nil
	c.ended = time.Now()
	u.wake()
	go u.release() // it takes mu
}

// endClaims ends the live claims that overlap r.
func (u *upload) endClaims(r resume.Range, err error) {
	for _, c := range append([]*claim(nil), u.claims...) {
		if c.rng.Overlaps(r) {
			c.end(err)
			u.due = append(u.due, c)
		}
	}
}

// State implements [resume.Claim].
func (c *claim) State() resume.State {
	c.u.mu.Lock()
	defer c.u.mu.Unlock()
	return c.u.state()
}

// Start implements [resume.Claim].
func (c *claim) Start() int64 {
	c.u.mu.Lock()
	defer c.u.mu.Unlock()
	return c.start
}

// Cursor implements [resume.Claim].
func (c *claim) Cursor() int64 {
	c.u.mu.Lock()
	defer c.u.mu.Unlock()
	return c.cursor
}

// Durable implements [resume.Claim].
func (c *claim) Durable() int64 {
	c.u.mu.Lock()
	defer c.u.mu.Unlock()
	return c.durableTo()
}

func (c *claim) durableTo() int64 {
	return min(c.u.durable().EndFrom(c.start), c.cursor)
}

// Err implements [resume.Claim].
func (c *claim) Err() error {
	c.u.mu.Lock()
	defer c.u.mu.Unlock()
	return c.err
}

// SetCursor implements [resume.Claim].
func (c *claim) SetCursor(off int64) error {
	u := c.u
	u.mu.Lock()
	defer u.unlock()
	switch {
	case c.err != nil:
		return c.err
	case c.wrote:
		return u.wrap(fmt.Errorf("%w: the cursor is moved before the first write only", resume.ErrLength))
	case off < c.rng.Start || off > c.cursor || !u.received().Has(resume.Range{Start: off, End: c.cursor}):
		return u.wrap(fmt.Errorf("%w: cursor %d cannot go to %d, bytes between are missing", resume.ErrLength, c.cursor, off))
	}
	c.start, c.cursor, c.checked = off, off, off
	c.findGap()
	return nil
}

// Checkpoint implements [resume.Claim].
func (c *claim) Checkpoint() {
	u := c.u
	u.mu.Lock()
	defer u.mu.Unlock()
	if c.err != nil {
		return
	}
	c.checked = c.cursor
	c.gen++
	u.stored = rules.Union(u.stored, c.fresh)
	c.fresh = nil
	if u.info.WantSHA256 {
		c.hash = u.hash.mark()
	}
}

// Sync implements [resume.Claim]. Who comes while another waits for the
// storage often finds everything done.
func (c *claim) Sync(ctx context.Context) error {
	u := c.u
	defer c.stay()()
	for {
		if done, err := c.synced(); done || err != nil {
			return err
		}
		if err := u.takeTurn(ctx); err != nil {
			return u.wrap(err)
		}
		done, err := c.synced()
		if !done && err == nil {
			err = u.commit(true)
		}
		u.endTurn()
		if done || err != nil {
			return err
		}
	}
}

func (c *claim) synced() (bool, error) {
	c.u.mu.Lock()
	defer c.u.mu.Unlock()
	if c.err != nil && !errors.Is(c.err, resume.ErrComplete) {
		return false, c.err
	}
	return c.durableTo() >= c.cursor, nil
}

// stay keeps the upload in memory until what it returns is called. A claim that
// has ended has no right to that; nothing is under way for it either.
func (c *claim) stay() func() {
	u := c.u
	u.mu.Lock()
	defer u.mu.Unlock()
	if c.err != nil {
		return func() {}
	}
	u.retain()
	return u.release
}

// Close implements [resume.Claim].
func (c *claim) Close() error {
	c.u.mu.Lock()
	c.end(resume.ErrClosed)
	c.u.unlock()
	return nil
}

// unlock gives mu up and then calls the notify functions that are due.
func (u *upload) unlock() {
	due := u.due
	u.due = nil
	u.mu.Unlock()
	for _, c := range due {
		c.tell()
	}
}

func (c *claim) tell() {
	if c.notify == nil {
		return
	}
	c.notifyMu.Lock()
	defer c.notifyMu.Unlock()
	c.notify()
}
