package flow

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"
)

const (
	ms  = time.Millisecond
	sec = time.Second
	kib = 1 << 10
	mib = 1 << 20
	gib = 1 << 30

	// eightfold is what a client is promised to live through: not the
	// constant of the code under test.
	eightfold = 8
)

func upload(p path, max int64) (*run, *Controller) {
	c := New(Config{ClientTimeout: p.timeout, MaxWindow: max, Eager: p.eager})
	return simulate(p, c), c
}

// fills says whether credit that survives a collapse can keep a path busy.
// What is out when a grant is sent must last until it takes effect: the window,
// less what was stored since the grant before, less what a client that sends
// whole chunks cannot use. 20 ms and two packets are for the store and for the
// pieces in which the simulated link carries data, and a tenth is for the rate
// being measured low.
func fills(p path) bool {
	c := New(Config{ClientTimeout: p.timeout})
	survives := (p.timeout*7/8 - p.rtt) / eightfold
	w := int64(0.9 * p.rate * survives.Seconds())
	f := max(min(powerOfTwo(w/4), DefaultMaxChunk), c.cfg.MinChunk)
	out := w - max(f, w/4)
	switch {
	case p.ragged:
	case p.whole:
		out -= w % f
	default:
		out -= f
	}
	return float64(out-2*packet) >= p.rate*(p.rtt+20*ms).Seconds()
}

// settling returns a time by which the window must have found its size: two
// round trips for each doubling from the initial window, once that is drained.
func settling(p path) time.Duration {
	drain := seconds(DefaultInitialWindow / p.rate)
	t := 4*p.rtt + 2*drain + 200*ms
	for w := float64(New(Config{ClientTimeout: p.timeout}).Window()); w < 2*p.rate*(p.rtt+storeSlack).Seconds(); w *= 2 {
		t += 2*p.rtt + 10*ms
	}
	return t
}

var timeouts = []time.Duration{20 * sec, 60 * sec, 5 * sec, 2 * sec, 500 * ms}

// Every link from 16 KiB/s to 1 GiB/s, every round trip, every timeout: no
// ping is ever late, chunks never hold the line up, and the link is filled
// where the timeout allows it at all.
func TestEveryLinkIsFilledAndNoPingIsLate(t *testing.T) {
	step := 4.0
	if testing.Short() {
		step = 256
	}
	for _, timeout := range timeouts {
		for rate := float64(16 * kib); rate <= gib; rate *= step {
			for _, rtt := range []time.Duration{1 * ms, 20 * ms, 100 * ms, 300 * ms, 600 * ms} {
				if rtt > timeout/3 {
					continue
				}
				for _, ragged := range []bool{false, true} {
					p := path{timeout: timeout, rate: rate, rtt: rtt, ragged: ragged}
					p.eager = ragged && rate*timeout.Seconds() > mib
					p.settled = settling(p)
					p.duration = p.settled + max(20*rtt, sec, min(seconds(4*mib/rate), 60*sec))
					r, c := upload(p, 4*gib)
					got := r.goodput(p.settled, p.duration) / rate
					name := fmt.Sprintf("timeout %v, %.0f KiB/s, rtt %v, ragged %v", timeout, rate/kib, rtt, ragged)
					if testing.Verbose() {
						t.Logf("%s: %.1f %%, window %d KiB, chunk %d KiB, ping %v, then %v, settled %v", name, 100*got,
							c.Window()/kib, c.Chunk()/kib, r.worstPing.Round(ms), r.latePing.Round(ms), p.settled.Round(ms))
					}
					r.check(t, name)
					if fills(p) && got < 0.95 {
						t.Errorf("%s: goodput %.1f %% of the link", name, 100*got)
					}
					if r.latePing > rtt+timeout/4 {
						t.Errorf("%s: a ping takes %v of the client's %v", name, r.latePing, timeout)
					}
				}
			}
		}
	}
}

// check holds what must hold on every path at all times.
func (r *run) check(t interface{ Errorf(string, ...any) }, name string) {
	if r.worstPing >= r.timeout {
		t.Errorf("%s: a ping took %v, the client waits %v", name, r.worstPing, r.timeout)
	}
	if r.overran {
		t.Errorf("%s: a client that keeps to its credit overran Edge", name)
	}
	least := New(Config{ClientTimeout: r.timeout}).cfg.MinChunk
	slowest := r.rate
	for _, c := range r.changes {
		slowest = min(slowest, c.rate)
	}
	if r.worstFrame >= max(5*sec, seconds(float64(least)/slowest)+ms) {
		t.Errorf("%s: a message took %v", name, r.worstFrame)
	}
	for i, g := range r.grants {
		if i > 0 && max(g.stored-r.grants[i-1].stored, g.edge-r.grants[i-1].edge) < g.window/8 {
			t.Errorf("%s: at %v: an ack for less than an eighth of window %d", name, g.at, g.window)
		}
		if g.chunk > max(g.window/2, 1) || g.chunk > DefaultMaxChunk || g.chunk < min(least, g.window/2) {
			t.Errorf("%s: at %v: chunk %d with window %d", name, g.at, g.chunk, g.window)
		}
	}
}

// anyPath draws a path on which a client is promised to live.
func anyPath(t *rapid.T) path {
	between := func(name string, low, high time.Duration) time.Duration {
		return time.Duration(rapid.Int64Range(int64(low), int64(high)).Draw(t, name))
	}
	p := path{
		timeout: rapid.SampledFrom(timeouts[:4]).Draw(t, "timeout"),
		rate:    16 * kib * pow2(rapid.Float64Range(0, 16).Draw(t, "log2 rate/16KiB")),
		far:     rapid.Bool().Draw(t, "far"),
		ragged:  rapid.Bool().Draw(t, "ragged"),
		coarse:  rapid.Bool().Draw(t, "coarse"),
		whole:   rapid.Bool().Draw(t, "whole"),
		seed:    rapid.Int64().Draw(t, "seed"),
	}
	p.rtt = between("rtt", ms, min(600*ms, p.timeout/5))
	if rapid.Bool().Draw(t, "jittery") {
		p.jitter = between("jitter", 0, p.rtt/2)
	}
	p.eager = p.rate*p.timeout.Seconds() > 320*kib && rapid.Bool().Draw(t, "eager")
	p.settled = settling(p)
	p.duration = p.settled + between("duration", 2*sec, 30*sec)
	if rapid.Bool().Draw(t, "socket buffer") {
		p.kernel = rapid.SampledFrom([]int64{64 * kib, mib, 4 * mib}).Draw(t, "kernel")
	}
	return p
}

func pow2(x float64) float64 { return float64(powerOfTwo(1<<int(x))) * (1 + x - float64(int(x))) }

// Whatever else happens (an eight-fold collapse, a disk that stands still, a
// client with nothing to send, memory that comes and goes): no ping is late,
// no credit is overrun, and the upload goes on.
func TestNoPingIsLateWhateverHappens(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := anyPath(t)
		when := func(name string) time.Duration {
			return time.Duration(rapid.Int64Range(int64(p.settled), int64(p.duration)).Draw(t, name))
		}
		if rapid.Bool().Draw(t, "collapses") {
			at := when("collapse")
			p.changes = []change{{at, p.rate / eightfold}}
			if rapid.Bool().Draw(t, "recovers") {
				p.changes = append(p.changes, change{at + p.timeout, p.rate})
				p.duration += p.timeout
			}
		}
		for range rapid.IntRange(0, 2).Draw(t, "stalls") {
			length := rapid.Int64Range(int64(300*ms), int64(3*sec)).Draw(t, "stall length")
			p.stalls = append(p.stalls, span{when("stall"), time.Duration(length)})
		}
		if rapid.Bool().Draw(t, "pauses") {
			p.pauses = []span{{when("pause"), 5 * sec}}
		}
		if rapid.Bool().Draw(t, "slow store") {
			p.store = p.rate * rapid.Float64Range(0.1, 2).Draw(t, "store rate")
		}
		if rapid.Bool().Draw(t, "memory changes") {
			from := when("less memory")
			p.memory = []room{
				{from, int64(rapid.SampledFrom([]int{0, kib, 100 * kib, mib}).Draw(t, "room"))},
				{from + 2*sec, 64 * mib},
			}
		}
		tail := 10*sec + seconds(10*16*kib/p.rate*eightfold)
		p.duration += 2 * tail
		r, _ := upload(p, 64*mib)
		r.check(t, "any path")
		for _, m := range p.memory {
			for _, g := range r.grants {
				if g.at >= m.at && g.at < m.at+2*sec && m.n < 64*mib && g.window > m.n {
					t.Errorf("at %v: window %d, memory for %d", g.at, g.window, m.n)
				}
			}
		}
		if r.storedAt(p.duration) <= r.storedAt(p.duration-tail) {
			t.Errorf("the upload stands still: %d stored", r.storedAt(p.duration))
		}
	})
}

// Goodput over any undisturbed path, with jitter and any kind of client.
func TestAnyLinkIsFilled(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := anyPath(t)
		p.kernel = 0
		p.jitter /= 4
		if rapid.Bool().Draw(t, "slow store") {
			p.store = max(p.rate, mib) * rapid.Float64Range(0.5, 2).Draw(t, "store rate")
		}
		narrow := p.rate
		if p.store > 0 {
			narrow = min(narrow, p.store)
		}
		p.duration += seconds(20*DefaultMinChunk/p.rate) + min(10*sec, seconds(20*DefaultMaxChunk/p.rate)) // twenty chunks
		slower := p
		slower.rtt += p.jitter + seconds(256*kib/max(p.store, 16*mib))
		r, c := upload(p, 4*gib)
		got := r.goodput(p.settled, p.duration) / narrow
		if fills(slower) && got < 0.95 {
			t.Errorf("goodput %.1f %%, window %d, rate %d, rtt %v", 100*got, c.Window(), c.Rate(), c.rtt)
		}
	})
}
