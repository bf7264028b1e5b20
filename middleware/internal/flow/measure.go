package flow

import "time"

// A grant is credit on its way through the client and back as data.
type grant struct {
	at      time.Duration // when it was sent
	arrived int64         // bytes that had arrived by then
	from    int64         // highest edge before
	edge    int64         // edge by this grant
	window  int64         // window by the grant before, that led to from
	chunk   int64         // chunk of this grant
	next    int64         // bytes that had come with the first arrival after it; 0: none yet
	waited  time.Duration // until then
	first   int64         // bytes that had come with the first beyond from; 0: none yet
	behind  bool          // the store had a quarter of a window or more to write
}

// wasIdle reports whether the silence before the n bytes that arrive now can
// only be the client's own: credit was out, and neither a round trip nor a link
// sixteen times slower explains it. A client that had come to the end of what
// it surely knew of was waiting for a grant: until the round trip is known, that
// may take as long as it could live with.
func (c *Controller) wasIdle(now time.Duration, n int64) bool {
	if now-c.last <= idleAfter {
		return false
	}
	since, turn, rate := c.last, max(idleAfter, 2*c.rtt), c.rate
	if g := c.open.unopened(); g != nil && c.arrived+g.chunk > g.from {
		since = max(since, g.at)
		if c.rtt == 0 {
			turn = max(turn, c.cfg.ClientTimeout/2)
		}
	}
	if rate == 0 {
		rate = floorRate
	}
	return now-since > turn+seconds(2*collapse*float64(n)/rate)
}

// restart has g measured from now on, as credit of a client that was silent:
// when it took notice of the grant is anyone's guess. came is what has come
// with the arrival that ended the silence.
func (c *Controller) restart(g *grant, now time.Duration, came int64) {
	g.at, g.arrived = now, c.arrived
	g.next, g.waited = came, 0
	g.from, g.first = g.edge, 0
}

// noteOpened takes the round trip from the first byte beyond the old edge. The
// time since the grant is the round trip if the client had to wait for it, else
// it is more: so the least is kept, until the rate falls, which may be because
// the path has become longer.
func (c *Controller) noteOpened(g *grant, now time.Duration) {
	took := now - g.at
	if took <= 0 {
		return // the clock is too coarse
	}
	if c.least == 0 || took < c.least {
		c.least = took
	}
	if c.rtt == 0 || took < c.rtt || c.rate < c.best*7/8 {
		c.rtt, c.best = took, c.rate
	}
}

// noteDrained takes the rate from a grant that has been used up. Samples err on
// the low side only, so a higher one is believed at once.
func (c *Controller) noteDrained(g *grant, now time.Duration) {
	rate := c.sample(g, now)
	if rate == 0 {
		return
	}
	c.rate = max(rate, c.rate+(rate-c.rate)/4)
	c.best = max(c.best, c.rate)
}

// grow looks at a grant that has come back as data: if too little credit was
// out when it was sent, the window that led to this is doubled, unless the
// store was what held things up.
func (c *Controller) grow(g *grant) {
	if c.rate > 0 && !g.behind && float64(g.from-g.arrived) < c.needed() {
		c.grown = max(c.grown, min(2*g.window, c.safe(), c.max))
	}
}

// noteLate takes the rate from a grant that should have drained by now, so
// that a link that has become slower is noticed before the window has.
func (c *Controller) noteLate(g *grant, now time.Duration) {
	if now-g.at < c.cfg.ClientTimeout/4+c.rtt {
		return
	}
	if rate := c.sample(g, now); rate > 0 && (c.rate == 0 || rate < c.rate) {
		c.rate = rate
	}
}

// sample returns the rate since a grant in bytes a second, 0 if nothing can be
// said. See the package comment for the reasoning. What is on the line at the
// time of the grant has partly been carried before, so the first arrival after
// it must not count, or a link seen through few large arrivals looks faster
// than it is; the time until then must, or a burst after a lost packet does.
func (c *Controller) sample(g *grant, now time.Duration) float64 {
	if g.next == 0 {
		return 0
	}
	floor := min(sampleFloor, c.cfg.ClientTimeout/200)
	rate := func(bytes int64, d time.Duration) float64 {
		return float64(max(bytes, 0)) / max(d, floor).Seconds()
	}
	took := now - g.at
	busy := min(rate(c.arrived-g.arrived, took), rate(c.arrived-g.next, took-g.waited))
	if g.first == 0 {
		return busy
	}
	return max(busy, rate(c.arrived-g.first, took-c.least))
}

func seconds(s float64) time.Duration {
	return time.Duration(min(s, 1e6) * float64(time.Second))
}

// pending is a queue of grants in a ring: acks come about four to a window, so
// sixteen is plenty. When it is full a new grant joins the latest one, which
// makes the link look slower than it is: safe, and over soon.
type pending struct {
	ring    [16]grant
	head, n int
}

func (p *pending) at(i int) *grant { return &p.ring[(p.head+i)%len(p.ring)] }

func (p *pending) front() *grant { return p.at(0) }

// unopened returns the oldest grant that nothing has come of yet, or nil.
func (p *pending) unopened() *grant {
	for i := range p.n {
		if g := p.at(i); g.first == 0 && g.from < g.edge {
			return g
		}
	}
	return nil
}

func (p *pending) push(g grant) {
	if p.n == len(p.ring) {
		p.at(p.n - 1).edge = g.edge
		return
	}
	p.n++
	*p.at(p.n - 1) = g
}

func (p *pending) pop() {
	p.head = (p.head + 1) % len(p.ring)
	p.n--
}

// dropAbove forgets the grants beyond an edge.
func (p *pending) dropAbove(edge int64) {
	for p.n > 0 && p.at(p.n-1).edge > edge {
		p.n--
	}
}
