package flow

import (
	"fmt"
	"testing"
	"time"
)

// fixed is a server that grants the same whatever happens: the control that
// shows that the simulated client can die.
type fixed struct{ window, chunk, stored int64 }

func (f *fixed) Arrived(time.Duration, int64) {}
func (f *fixed) SetMax(int64)                 {}
func (f *fixed) Edge() int64                  { return f.stored + 2*f.window }
func (f *fixed) Due(stored int64) bool        { return stored-f.stored >= f.window/4 }
func (f *fixed) Grant(_ time.Duration, stored int64) (window, chunk int64) {
	f.stored = stored
	return f.window, f.chunk
}

// A client on a slow link dies with a window of a megabyte, which is what its
// socket buffer gives it where there is none, and small messages do not help.
// With ours it lives.
func TestSlowClientDiesWithoutWindow(t *testing.T) {
	for _, rate := range []float64{16 * kib, 32 * kib, 50 * kib} {
		p := path{timeout: 20 * sec, rate: rate, rtt: 100 * ms, duration: 90 * sec}
		for _, chunk := range []int64{16 * kib, 256 * kib} {
			if r := simulate(p, &fixed{window: mib, chunk: chunk}); r.worstPing < p.timeout {
				t.Errorf("%.0f KiB/s, chunk %d: lives without a window, ping %v", rate/kib, chunk, r.worstPing)
			}
		}
		r, _ := upload(p, 64*mib)
		r.check(t, fmt.Sprintf("%.0f KiB/s", rate/kib))
		// The first ack must know better than to grant as much again.
		for _, g := range r.grants[1:] {
			if g.window > max(int64(2.2*rate), 32*kib) {
				t.Errorf("%.0f KiB/s: window %d KiB at %v", rate/kib, g.window/kib, g.at)
				break
			}
		}
	}
}

// disturbed are links on which the window is free to find its size.
var disturbed = []path{
	{timeout: 20 * sec, rate: 32 * kib, rtt: 100 * ms},
	{timeout: 20 * sec, rate: 256 * kib, rtt: 600 * ms},
	{timeout: 20 * sec, rate: 4 * mib, rtt: 30 * ms},
	{timeout: 20 * sec, rate: 100 * mib, rtt: 100 * ms},
	{timeout: 20 * sec, rate: gib, rtt: ms},
	{timeout: 2 * sec, rate: 4 * mib, rtt: 30 * ms},
}

func (p path) String() string {
	return fmt.Sprintf("timeout %v, %.0f KiB/s, rtt %v", p.timeout, p.rate/kib, p.rtt)
}

// A disk that stood still for three seconds leaves the window as it was, and
// the line is full again at once.
func TestStalledDiskLeavesTheWindowAlone(t *testing.T) {
	for _, p := range disturbed {
		for _, length := range []time.Duration{300 * ms, 3 * sec} {
			p.settled = settling(p)
			stall := span{p.settled, length}
			p.stalls = []span{stall}
			after := stall.at + length
			p.duration = after + 4*sec
			r, _ := upload(p, gib)
			r.check(t, p.String())
			if was, is := r.windowAt(stall.at), r.leastWindow(stall.at, p.duration); is < was*8/10 {
				t.Errorf("%v: window %d KiB before a stall of %v, then %d KiB", p, was/kib, length, is/kib)
			}
			if got := r.goodput(after+p.rtt+50*ms, p.duration) / p.rate; got < 0.95 {
				t.Errorf("%v: goodput %.1f %% after a stall of %v", p, 100*got, length)
			}
		}
	}
}

// A store that hiccups for 40 ms twice a second costs nothing.
func TestHiccupsAreHidden(t *testing.T) {
	for _, p := range disturbed {
		p.settled = settling(p)
		p.duration = p.settled + 10*sec
		for at := p.settled / 2; at < p.duration-100*ms; at += 500 * ms {
			p.stalls = append(p.stalls, span{at, 40 * ms})
		}
		r, _ := upload(p, gib)
		if got := r.goodput(p.settled, p.duration) / p.rate; got < 0.95 {
			t.Errorf("%v: goodput %.1f %%", p, 100*got)
		}
	}
}

// A client that had nothing to send finds the window that it left.
func TestIdleClientKeepsItsWindow(t *testing.T) {
	for _, p := range disturbed {
		p.settled = settling(p)
		p.pauses = []span{{p.settled, 8 * sec}, {p.settled + 12*sec, 8 * sec}, {p.settled + 21*sec, 30 * sec}}
		p.duration = p.settled + 56*sec
		r, _ := upload(p, gib)
		r.check(t, p.String())
		if was, is := r.windowAt(p.settled), r.leastWindow(p.settled, p.duration); is < was*6/10 {
			t.Errorf("%v: window %d KiB before the pauses, then %d KiB", p, was/kib, is/kib)
		}
		if got := r.goodput(p.duration-3*sec, p.duration) / p.rate; got < 0.95 {
			t.Errorf("%v: goodput %.1f %% after the pauses", p, 100*got)
		}
	}
}

// An eight-fold collapse is survived, noticed within the client's timeout, so
// that a ping is soon as quick as before, and forgotten when it is over.
func TestCollapseIsNoticedAndForgotten(t *testing.T) {
	for _, p := range disturbed {
		if p.rate/eightfold < 16*kib {
			continue // the floor of the window counts
		}
		at := settling(p)
		over := at + 3*p.timeout
		p.changes = []change{{at, p.rate / eightfold}, {over, p.rate}}
		p.settled = at + p.timeout*5/4
		p.duration = over
		r, c := upload(p, gib)
		r.check(t, p.String())
		if limit := p.timeout/4 + p.rtt; r.latePing > limit {
			t.Errorf("%v: a ping takes %v of %v long after the collapse", p, r.latePing, p.timeout)
		}
		if got := float64(c.Rate()) * eightfold / p.rate; got < 0.9 || got > 1.1 {
			t.Errorf("%v: measures %d KiB/s after the collapse", p, c.Rate()/kib)
		}
		p.duration = over + settling(p) + 10*sec
		r, _ = upload(p, gib)
		r.check(t, p.String())
		if got := r.goodput(over+settling(p), p.duration) / p.rate; got < 0.95 {
			t.Errorf("%v: goodput %.1f %% after the collapse", p, 100*got)
		}
	}
}

// An eight-fold collapse at any moment is survived by a window as large as it
// may ever be, wherever on the path it happens, and noticed long before the
// client's next timeout.
func TestCollapseOfAFullWindow(t *testing.T) {
	paths := []path{
		{timeout: 20 * sec, rate: 2 * mib, rtt: 900 * ms},
		{timeout: 20 * sec, rate: mib, rtt: 5 * sec},
		{timeout: 2 * sec, rate: mib, rtt: 500 * ms},
		{timeout: 2 * sec, rate: 10 * mib, rtt: 100 * ms},
		{timeout: 60 * sec, rate: 300 * kib, rtt: 1500 * ms},
	}
	for rate := 32.0 * kib; rate < 64*kib; rate += 5 * kib { // some fit whole chunks well
		paths = append(paths, path{timeout: 20 * sec, rate: rate, rtt: 20 * ms})
	}
	full, runs := 0, 0
	for _, p := range paths {
		for phase := range 8 {
			at := settling(p) + p.timeout + time.Duration(phase)*p.timeout/61
			p.changes = []change{{at, p.rate / eightfold}}
			p.duration = at + 2*p.timeout
			p.far = phase%2 == 1
			r, _ := upload(p, gib)
			r.check(t, fmt.Sprintf("%v, phase %d", p, phase))
			bears := p.rate * (p.timeout*7/8 - p.rtt).Seconds() / eightfold
			if runs++; float64(r.windowAt(at)) > 0.9*bears {
				full++
			}
			if float64(r.windowAt(at)) > 1.05*bears {
				t.Errorf("%v: window %d KiB, the link bears %.0f KiB", p, r.windowAt(at)/kib, bears/kib)
			}
			least := float64(2 * New(Config{ClientTimeout: p.timeout}).cfg.MinChunk)
			if w := r.windowAt(at + p.timeout*3/8 + p.rtt); float64(w) > max(0.5*bears, least) {
				t.Errorf("%v: window %d of %.0f KiB after the collapse", p, w/kib, bears/kib)
			}
		}
	}
	if full < runs/4 {
		t.Errorf("only %d of %d windows were full: this shows little", full, runs)
	}
}

// A line that gets worse and worse, eight times each two timeouts.
func TestCollapseAfterCollapse(t *testing.T) {
	p := path{timeout: 5 * sec, rate: 64 * mib, rtt: 100 * ms}
	for i, rate := range []float64{8 * mib, mib, 128 * kib, 16 * kib} {
		p.changes = append(p.changes, change{settling(p) + time.Duration(2*i)*p.timeout, rate})
	}
	p.duration = settling(p) + 10*p.timeout
	r, _ := upload(p, gib)
	r.check(t, p.String())
}

// A line that is dead for a minute is in use again when it comes back: its
// client may be one that does not ping.
func TestDeadLineComesBack(t *testing.T) {
	for _, p := range disturbed {
		at := settling(p)
		p.changes = []change{{at, 200}, {at + 60*sec, p.rate}}
		p.duration = at + 60*sec + settling(p) + 20*sec
		r, _ := upload(p, gib)
		if got := r.goodput(p.duration-5*sec, p.duration) / p.rate; got < 0.95 {
			t.Errorf("%v: goodput %.1f %% after it came back", p, 100*got)
		}
	}
}

// Where the client's timeout is too short for its round trip the line cannot
// be filled. Its rate must be known all the same: the wait for credit is not
// slowness, or the window would shrink and the wait grow.
func TestWaitForCreditIsNotASlowLink(t *testing.T) {
	for _, p := range []path{
		{timeout: 2 * sec, rate: mib, rtt: 300 * ms},
		{timeout: 2 * sec, rate: 10 * mib, rtt: 600 * ms},
		{timeout: 2 * sec, rate: 100 * mib, rtt: 300 * ms},
		{timeout: 500 * ms, rate: mib, rtt: 100 * ms},
		{timeout: 500 * ms, rate: 10 * mib, rtt: 200 * ms},
		{timeout: 20 * sec, rate: mib, rtt: 3 * sec},
	} {
		p.duration = 60 * p.rtt
		r, c := upload(p, gib)
		if got := float64(c.Rate()) / p.rate; got < 0.5 || got > 1.1 {
			t.Errorf("%v: measures %.0f %%", p, 100*got)
		}
		bears := float64(p.timeout*7/8-p.rtt) / eightfold * 0.3
		if got := r.goodput(p.duration/2, p.duration) / p.rate; got < bears/float64(p.rtt) {
			t.Errorf("%v: goodput %.1f %%", p, 100*got)
		}
	}
}

// A slow store, or memory that others need, keeps the client waiting. That says
// nothing about its link either.
func TestWaitForTheServerIsNotASlowLink(t *testing.T) {
	less := []room{{10 * sec, 20 * kib}, {11 * sec, gib}, {12 * sec, 40 * kib}, {17 * sec, gib}}
	for _, p := range []path{
		{timeout: 20 * sec, rate: 64 * kib, rtt: 100 * ms, store: 4 * kib},
		{timeout: 20 * sec, rate: 4 * mib, rtt: 100 * ms, store: 40 * kib},
		{timeout: 20 * sec, rate: 256 * kib, rtt: 100 * ms, memory: less},
		{timeout: 20 * sec, rate: 4 * mib, rtt: 50 * ms, memory: less},
		{timeout: 2 * sec, rate: 4 * mib, rtt: 30 * ms, memory: less},
	} {
		for _, ragged := range []bool{false, true} {
			p.ragged = ragged
			p.duration = 60 * sec
			r, _ := upload(p, gib)
			r.check(t, p.String())
			for _, g := range r.grants {
				if got := float64(g.rate) / p.rate; g.at > 18*sec && (got < 0.6 || got > 1.1) {
					t.Errorf("%v, ragged %v: measures %.0f %% at %v", p, ragged, 100*got, g.at)
					break
				}
			}
		}
	}
}

// With whole chunks, an ack that comes a little after a chunk is of no use
// before the next one: this line is full only if acks keep step with chunks.
func TestAcksKeepStepWithChunks(t *testing.T) {
	p := path{timeout: 10 * sec, rate: 89939, rtt: 600 * ms, whole: true, duration: 40 * sec}
	r, _ := upload(p, gib)
	if got := r.goodput(20*sec, p.duration) / p.rate; got < 0.95 {
		t.Errorf("goodput %.1f %%", 100*got)
	}
}

// When the store is slower than the link, more window would only fill memory.
func TestSlowStoreDoesNotFillMemory(t *testing.T) {
	for _, p := range disturbed[2:5] {
		p.store = p.rate / 4
		p.duration = 30 * sec
		r, _ := upload(p, gib)
		if got := r.goodput(10*sec, p.duration) / p.store; got < 0.95 {
			t.Errorf("%v: goodput %.1f %% of the store", p, 100*got)
		}
		need := int64(3*p.store*(p.rtt+2*storeSlack).Seconds()) + mib
		if w := r.windowAt(p.duration); w > 2*need {
			t.Errorf("%v: window %d KiB, %d KiB do", p, w/kib, need/kib)
		}
	}
}

// A path that gets longer is noticed and its window grows.
func TestLongerPathIsNoticed(t *testing.T) {
	for _, coarse := range []bool{false, true} {
		for _, factor := range []time.Duration{2, 5, 20} {
			p := path{timeout: 20 * sec, rate: 4 * mib, rtt: 30 * ms, coarse: coarse}
			p.detour = detour{2 * sec, factor * p.rtt}
			p.duration = 20 * sec
			r, c := upload(p, gib)
			if got := r.goodput(10*sec, p.duration) / p.rate; got < 0.95 {
				t.Errorf("%d times longer, coarse %v: goodput %.1f %%, window %d, rtt %v", factor, coarse, 100*got, c.Window(), c.rtt)
			}
		}
	}
}

// A link that needs little is given little, however much it could survive: the
// memory belongs to others too, and short queues make quick pings.
func TestWindowIsNoLargerThanNeeded(t *testing.T) {
	for _, p := range disturbed {
		p.duration = settling(p) + 10*sec
		r, c := upload(p, 4*gib)
		line := int64(p.rate * (max(p.rtt, c.rtt) + storeSlack).Seconds())
		if w := r.windowAt(p.duration); w > max(6*line, DefaultInitialWindow) {
			t.Errorf("%v: window %d KiB for a line that holds %d KiB", p, w/kib, line/kib)
		}
	}
}

// What waited behind a lost packet arrives all at once. That is not the rate of
// the link, and must not buy a window that the link cannot bear.
func TestBurstsAreNotTheRate(t *testing.T) {
	for i, p := range append(disturbed, disturbed...) {
		p.coarse = i >= len(disturbed)
		p.eager = p.timeout >= 20*sec // while the server opens the upload
		for at := time.Duration(0); at < 60*sec; at += sec {
			p.holes = append(p.holes, span{at, 300 * ms})
		}
		p.duration = 30 * sec
		r, _ := upload(p, 4*gib)
		bears := int64(p.rate * (p.timeout * 7 / 8).Seconds() / eightfold)
		for _, g := range r.grants {
			if g.at > 2*sec && (g.window > max(bears, DefaultInitialWindow) || float64(g.rate) > 1.3*p.rate) {
				t.Errorf("%v, coarse %v: at %v: window %d KiB, the link bears %d KiB; measures %.0f %%", p, p.coarse, g.at, g.window/kib, bears/kib, 100*float64(g.rate)/p.rate)
				break
			}
		}
		if r.worstPing >= p.timeout {
			t.Errorf("%v: ping %v", p, r.worstPing)
		}
	}
}

func (r *run) leastWindow(from, to time.Duration) int64 {
	w := r.windowAt(from)
	for _, g := range r.grants {
		if g.at >= from && g.at <= to {
			w = min(w, g.window)
		}
	}
	return w
}
