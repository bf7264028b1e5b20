package s3store

import (
	"context"
	"slices"

	"go.uber.org/zap"

	"github.com/wsingest/wsingest/resume"
)

// Rewind implements [resume.Claim].
//
// Parts that have bytes to be dropped are made an object first: a part cannot
// be cut, and a late try of one must not come over what is written since.
func (c *claim) Rewind(ctx context.Context) (int64, error) {
	u := c.u
	defer c.stay()()
	if err := u.takeTurn(ctx); err != nil {
		return c.Cursor(), u.wrap(err)
	}
	defer u.endTurn()
	u.mu.Lock()
	defer u.unlock()
	defer u.unground()
	if err := c.rewindable(); err != nil {
		return c.cursor, err
	}
	if err := u.ground(); err != nil {
		return c.cursor, err
	}
	if u.landed() {
		if err := u.record(u.objects, nil); err != nil {
			return c.cursor, err
		}
	}
	if c.inParts() {
		u.unlock()
		err := u.freeze()
		u.mu.Lock()
		if err != nil {
			return c.cursor, err
		}
	}
	if err := c.rewindable(); err != nil {
		return c.cursor, err
	}
	return c.drop()
}

func (c *claim) rewindable() error {
	if c.err != nil {
		return c.err
	}
	if c.u.phase != resume.Receiving {
		return c.u.wrap(resume.ErrComplete)
	}
	return nil
}

// inParts reports whether a part has bytes to be dropped.
func (c *claim) inParts() bool {
	for i := range c.u.parts.have {
		r := c.u.plan.cut(i, c.u.info.Length)
		if slices.ContainsFunc(c.fresh, func(e resume.Extent) bool { return e.Overlaps(r) }) {
			return true
		}
	}
	return false
}

func (c *claim) drop() (int64, error) {
	u := c.u
	u.dropBlocks(func(b *block) bool { return b.claim == c && b.gen == c.gen })
	var ranges []resume.Range
	for _, e := range c.fresh {
		ranges = append(ranges, e.Range)
	}
	c.fresh = nil
	c.cursor = c.checked
	c.findGap()
	u.hash.rewind(u.received().EndFrom(0), c.hash)
	u.log.Info("bytes dropped that failed their check", zap.Int64("cursor", c.cursor))
	if len(ranges) == 0 {
		return c.cursor, nil
	}
	return c.cursor, u.record(cutObjects(u.objects, ranges), nil)
}
