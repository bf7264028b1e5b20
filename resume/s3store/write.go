package s3store

import (
	"time"

	"github.com/wsingest/wsingest/resume"
	"github.com/wsingest/wsingest/resume/internal/rules"
)

// blockSize is how many bytes are taken from the memory budget at a time.
const blockSize = 256 << 10

// block is bytes in memory, of one claim and within one part, that are not
// durable yet.
type block struct {
	claim *claim
	gen   int
	part  int
	start int64
	buf   []byte // its capacity is what it costs
	crc   uint32
	born  time.Time

	going  bool // on its way to the storage: not to be changed
	landed bool // there; the next record will say so
}

func (b *block) end() int64 { return b.start + int64(len(b.buf)) }

func (b *block) extent() resume.Extent {
	return resume.Extent{Range: resume.Range{Start: b.start, End: b.end()}, CRC32C: b.crc}
}

// Write implements [resume.Claim].
func (c *claim) Write(p []byte) (n int, err error) { return c.write(p, nil) }

// WriteSum implements [resume.SumWriter].
func (c *claim) WriteSum(p []byte, crc uint32) (n int, err error) { return c.write(p, &crc) }

// write takes in p, whose CRC-32C is *sum if that is known. Room for a block is
// waited for without a lock.
func (c *claim) write(p []byte, sum *uint32) (n int, err error) {
	u := c.u
	size := len(p)
	room := int64(0)
	defer func() { u.store.memory.Release(room) }()
	u.mu.Lock()
	defer u.unlock()
	for {
		if err := c.check(len(p), len(p) == size); err != nil {
			return n, err
		}
		c.wrote = true
		passed := c.pass(len(p))
		n += passed
		if p = p[passed:]; len(p) == 0 {
			return n, nil
		}
		b, want := c.blockFor(len(p))
		if b == nil {
			if err := c.mayBegin(); err != nil {
				return n, err
			}
			if c.held() >= c.hold() {
				u.flush = u.flush || !u.flyingOf(c)
				u.tend()
				u.wake()
				if err := u.wait(c.live); err != nil && c.err == nil {
					return n, u.wrap(err)
				}
				continue
			}
			if room < want {
				u.store.memory.Release(room)
				room = 0
				u.unlock()
				err := u.store.reserve(c.live, want)
				u.mu.Lock()
				if err == nil {
					room = want
				} else if c.err == nil {
					return n, u.wrap(err)
				}
				continue
			}
			b = c.newBlock(want)
			u.store.memory.Release(room - want)
			room = 0
		}
		k := min(len(p), cap(b.buf)-len(b.buf))
		c.append(b, p[:k], size, sum)
		n += k
		if p = p[k:]; len(p) == 0 {
			return n, nil
		}
	}
}

// check says why n bytes cannot be written at the cursor.
func (c *claim) check(n int, first bool) error {
	u := c.u
	switch {
	case c.err != nil:
		return c.err
	case u.phase != resume.Receiving:
		return u.wrap(resume.ErrComplete)
	case !first:
		return nil
	}
	return u.wrapNil(rules.Fits(n, c.cursor, c.rng, u.info.Length))
}

// pass moves the cursor over bytes that are held already.
func (c *claim) pass(n int) int {
	if c.gapEnd != c.cursor {
		return 0
	}
	end := min(c.u.received().EndFrom(c.cursor), c.cursor+int64(n))
	passed := int(end - c.cursor)
	c.cursor = end
	c.findGap()
	return passed
}

// blockFor returns the block that the next byte belongs to, or how large a new
// one for n bytes has to be.
func (c *claim) blockFor(n int) (*block, int64) {
	u := c.u
	part, r := u.plan.part(c.cursor)
	if k := len(u.blocks); k > 0 {
		for i := k - 1; i >= 0; i-- {
			b := u.blocks[i]
			if b.claim == c && b.end() == c.cursor && b.gen == c.gen && b.part == part && !b.going && len(b.buf) < cap(b.buf) {
				return b, 0
			}
		}
	}
	end := min(r.End, c.gapEnd)
	if u.info.Length >= 0 {
		end = min(end, u.info.Length)
	}
	want := min(end-c.cursor, blockSize)
	if u.info.Length < 0 || c.held() == 0 {
		// The first block of one who sends little is small.
		want = min(want, max(int64(n), 4<<10))
	}
	return nil, want
}

// mayBegin refuses one run of bytes too many.
func (c *claim) mayBegin() error {
	u := c.u
	n := len(u.stored) + len(u.blocks)
	for _, o := range u.claims {
		n += len(o.fresh)
	}
	if n < resume.MaxExtents {
		return nil
	}
	received := u.received()
	if len(received) >= resume.MaxExtents && (c.cursor == 0 || received.EndFrom(c.cursor-1) != c.cursor) {
		return u.wrap(resume.ErrTooManyGaps)
	}
	return nil
}

// held returns how many bytes of a claim are in memory.
func (c *claim) held() (n int64) {
	for _, b := range c.u.blocks {
		if b.claim == c {
			n += int64(len(b.buf))
		}
	}
	return n
}

// partsTogether is how many parts all uploads have in memory, and so on their
// way, unless each of them has one.
const partsTogether = 8

// hold is how many bytes the claim may have in memory: a few parts if few
// uploads share the storage, one if many do or if it fails. More would not be
// faster then, and would have to be sent again if this node ended. How many come
// is not known when a node has just come up: so one part to begin with, and
// another with each that has arrived.
func (c *claim) hold() int64 {
	s := c.u.store
	_, r := c.u.plan.part(c.cursor)
	size := max(s.opts.PartSize, r.End-r.Start)
	parts := max(1, min(partsTogether/max(1, s.sharing.Load()), 1+c.arrived/size))
	if s.bucket.failing.Load() > 0 {
		parts = 1
	}
	return min(s.hold, parts*size)
}

// flyingOf reports whether some of that is on its way.
func (u *upload) flyingOf(c *claim) bool {
	for _, b := range u.blocks {
		if b.claim == c && b.going {
			return true
		}
	}
	return false
}

func (c *claim) newBlock(size int64) *block {
	part, _ := c.u.plan.part(c.cursor)
	b := &block{claim: c, gen: c.gen, part: part, start: c.cursor, buf: make([]byte, 0, size), born: time.Now()}
	c.u.blocks = append(c.u.blocks, b)
	c.u.tend()
	return b
}

// append takes p in. Its CRC is *sum if it is all of what was written.
func (c *claim) append(b *block, p []byte, size int, sum *uint32) {
	u := c.u
	if sum != nil && len(p) == size {
		b.crc = resume.CombineCRC32C(b.crc, *sum, int64(size))
	} else {
		b.crc = resume.UpdateCRC32C(b.crc, p)
	}
	b.buf = append(b.buf, p...)
	if u.info.WantSHA256 {
		u.hash.take(p, c.cursor)
	}
	c.cursor += int64(len(p))
	if r := u.plan.cut(b.part, u.info.Length); c.cursor == r.End || c.cursor == c.gapEnd {
		u.launch(b.part)
	}
	u.wakeWaiters()
}

// wakeWaiters lets those in wait look again, but not the tender.
func (u *upload) wakeWaiters() {
	if u.changed != nil {
		close(u.changed)
		u.changed = nil
	}
}

// dropBlocks forgets blocks and gives their memory back.
func (u *upload) dropBlocks(which func(*block) bool) {
	var kept []*block
	freed := int64(0)
	for _, b := range u.blocks {
		if which(b) {
			freed += int64(cap(b.buf))
			continue
		}
		kept = append(kept, b)
	}
	u.blocks = kept
	u.store.memory.Release(freed)
}
