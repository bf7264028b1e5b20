package filestore

import (
	"context"
	"errors"
	"fmt"
	"sync"

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

	err           error // why it ended, with the upload's id; nil while it lives
	detached      bool  // what it took in is the upload's now
	writing       bool  // bytes are on their way to the file
	wrote         bool  // Write was called
	start, cursor int64

	// runs are the bytes the claim took in, in order; the last one grows. They
	// do not touch, nor what was received before.
	runs    []resume.Extent
	gapEnd  int64 // bytes from cursor up to here are missing
	checked mark  // where Rewind goes back to
	durable mark  // what a finished commit covers
}

var (
	_ resume.Claim      = (*claim)(nil)
	_ resume.SumWriter  = (*claim)(nil)
	_ resume.HeadReader = (*claim)(nil)
)

// claim adds a claim on what no live claim overlaps.
func (u *upload) claim(o resume.OpenOptions) (*claim, error) {
	if u.store.isClosed() {
		return nil, resume.ErrClosed
	}
	c := &claim{u: u, rng: o.Range, notify: o.Notify}
	c.start = min(u.base.EndFrom(o.Range.Start), o.Range.End)
	c.seek(c.start)
	u.claims = append(u.claims, c)
	u.retain()
	u.epoch++
	u.dirty(false)
	u.log.Debug("upload opened", zap.Stringer("range", c.rng), zap.Int64("cursor", c.cursor), zap.Uint64("epoch", u.epoch))
	return c, nil
}

// seek places the cursor and all marks of a claim that took in nothing yet.
func (c *claim) seek(off int64) {
	c.cursor = off
	c.checked = mark{cursor: off}
	c.durable = mark{cursor: off}
	c.findGap()
}

// findGap sets gapEnd. What others hold in a claim's range does not change
// while it lives, so this is needed only when the cursor jumps.
func (c *claim) findGap() {
	c.gapEnd = c.cursor
	if c.u.base.EndFrom(c.cursor) == c.cursor {
		c.gapEnd = c.u.base.NextFrom(c.cursor)
	}
}

// end takes the claim's rights away. A write under way is waited for by who
// needs it to be over.
func (c *claim) end(err error) {
	if c.err != nil {
		return
	}
	c.err = c.u.wrap(err)
	c.u.log.Debug("connection's claim ended", zap.Stringer("range", c.rng), zap.Int64("cursor", c.cursor), zap.NamedError("reason", err))
	if !c.writing {
		c.detach()
	}
}

// detach hands over what the claim took in to the upload. It may be the last
// reference.
func (c *claim) detach() {
	u := c.u
	for i, o := range u.claims {
		if o == c {
			u.claims = append(u.claims[:i:i], u.claims[i+1:]...)
			break
		}
	}
	u.base = rules.Union(u.base, c.runs)
	u.baseDurable = rules.Union(u.baseDurable, c.durable.upTo(c.runs))
	c.detached = true
	if len(u.claims) == 0 {
		u.hurry()
	}
	u.wake()
	u.release()
}

// endClaims ends the live claims that overlap r.
func (u *upload) endClaims(r resume.Range, err error) {
	for _, c := range append([]*claim(nil), u.claims...) {
		if c.err == nil && c.rng.Overlaps(r) {
			c.end(err)
			u.due = append(u.due, c)
		}
	}
}

// writing reports whether a claim that overlaps r has bytes under way.
func (u *upload) writing(r resume.Range) bool {
	for _, c := range u.claims {
		if c.writing && c.rng.Overlaps(r) {
			return true
		}
	}
	return false
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

// durableTo walks from start over what is durable of the claim's own runs and
// of what others brought.
func (c *claim) durableTo() int64 {
	off := c.start
	for off < c.cursor {
		end := c.u.baseDurable.EndFrom(off)
		for i := range c.durable.runs {
			e := c.runs[i]
			if i == c.durable.runs-1 {
				e = c.durable.last
			}
			if e.Start <= end && end < e.End {
				end = e.End
			}
		}
		if end == off {
			break
		}
		off = end
	}
	return min(off, c.cursor)
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
	case off < c.rng.Start || off > c.cursor || !u.base.Has(resume.Range{Start: off, End: c.cursor}):
		return u.wrap(fmt.Errorf("%w: cursor %d cannot go to %d, bytes between are missing", resume.ErrLength, c.cursor, off))
	}
	c.start = off
	c.seek(off)
	return nil
}

// Checkpoint implements [resume.Claim].
func (c *claim) Checkpoint() {
	c.u.mu.Lock()
	defer c.u.mu.Unlock()
	c.checked = c.here()
}

// here marks the place the claim has come to.
func (c *claim) here() mark {
	m := mark{cursor: c.cursor, runs: len(c.runs)}
	if m.runs > 0 {
		m.last = c.runs[m.runs-1]
	}
	return m
}

// Rewind implements [resume.Claim].
//
// If a record on disk, or on its way there, has bytes that are dropped, Rewind
// returns only when a record without them has replaced it. Else a crash could
// bring them back, or a checksum of theirs over bytes written since.
func (c *claim) Rewind(ctx context.Context) (int64, error) {
	u := c.u
	u.mu.Lock()
	defer u.unlock()
	if c.err != nil {
		return c.cursor, c.err
	}
	if u.next.phase != resume.Receiving {
		return c.cursor, u.wrap(resume.ErrComplete)
	}
	to := c.checked
	recorded := u.commit.void(c, to)
	recorded = recorded || u.commit.doubt || c.durable.cursor > to.cursor
	c.runs = to.upTo(c.runs)
	c.cursor = to.cursor
	c.durable = c.durable.before(to)
	c.findGap()
	u.hash.rewind(u.contiguousFrom(0))
	u.log.Info("bytes dropped that failed their check", zap.Int64("cursor", c.cursor))
	if !recorded {
		return c.cursor, nil
	}
	u.commit.hold = u.commit.taken + 1
	u.dirty(true)
	return c.cursor, u.wrapNil(u.waitCommit(ctx, u.commit.hold))
}

// Sync implements [resume.Claim].
func (c *claim) Sync(ctx context.Context) error {
	u := c.u
	u.mu.Lock()
	defer u.unlock()
	if c.durableTo() >= c.cursor && (c.err == nil || errors.Is(c.err, resume.ErrComplete)) {
		return nil
	}
	if c.err != nil {
		return c.err
	}
	until := u.commit.taken
	if u.commit.dirty { // else it is on its way
		u.dirty(true)
		until++
	}
	for u.commit.done < until {
		switch {
		case u.dead != nil:
			return u.wrap(u.dead)
		case u.commit.again: // who may have to go is not to wait for room
			return u.wrap(resume.ErrNoSpace)
		}
		if err := u.wait(ctx); err != nil {
			return u.wrap(err)
		}
	}
	return nil
}

// Close implements [resume.Claim].
func (c *claim) Close() error {
	c.u.mu.Lock()
	c.end(resume.ErrClosed)
	c.u.unlock()
	return nil
}

func (u *upload) wrapNil(err error) error {
	if err == nil {
		return nil
	}
	return u.wrap(err)
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
