package flow

import (
	"testing"
	"time"
)

// What a client may send before anything is known of its link: as much as a
// link of 16 KiB/s drains in time, and 256 KiB at most.
func TestFirstGrant(t *testing.T) {
	for _, tt := range []struct {
		timeout       time.Duration
		window, chunk int64
	}{
		{0, 256 * kib, 64 * kib}, // 20 s
		{60 * sec, 256 * kib, 64 * kib},
		{20 * sec, 256 * kib, 64 * kib},
		{18 * sec, 256 * kib, 64 * kib},
		{10 * sec, 128 * kib, 32 * kib},
		{2 * sec, 16 * kib, 4 * kib},
		{500 * ms, 4 * kib, 1 * kib},
		{1, 2 * kib, 512}, // 250 ms
	} {
		c := New(Config{ClientTimeout: tt.timeout})
		if window, chunk := c.Grant(0, 0); window != tt.window || chunk != tt.chunk {
			t.Errorf("timeout %v: window %d, chunk %d; want %d, %d", tt.timeout, window, chunk, tt.window, tt.chunk)
		}
		if c.Edge() != DefaultInitialWindow {
			t.Errorf("timeout %v: edge %d: a client may send 256 KiB unasked", tt.timeout, c.Edge())
		}
	}
}

// The first message must not hold up the slowest line for five seconds, however
// large the first window.
func TestFirstChunk(t *testing.T) {
	c := New(Config{ClientTimeout: 120 * sec, InitialWindow: 4 * mib})
	if window, chunk := c.Grant(0, 0); window < mib || chunk != 64*kib {
		t.Errorf("window %d, chunk %d", window, chunk)
	}
}

// The law itself: with a full window on a link that has become eight times
// slower, a ping behind all of it is answered within the client's timeout, an
// eighth of which is left for what cannot be measured.
func TestFullWindowSurvivesCollapse(t *testing.T) {
	for _, timeout := range timeouts {
		for _, rtt := range []time.Duration{0, ms, timeout / 20, timeout / 5, timeout / 3} {
			for rate := 64.0 * kib; rate <= gib; rate *= 1.7 {
				c := New(Config{ClientTimeout: timeout, MaxWindow: 1 << 40})
				c.rate, c.rtt, c.grown = rate, rtt, 1<<40
				ping := seconds(float64(c.Window())/(rate/eightfold)) + rtt
				if limit := timeout * 7 / 8; ping > limit || ping < limit*9/10 {
					t.Errorf("timeout %v, rtt %v, %.0f KiB/s: window %d KiB, ping %v, not just below %v",
						timeout, rtt, rate/kib, c.Window()/kib, ping, limit)
				}
			}
		}
	}
}

// However slow the link has been, a client may still send something: with no
// window at all nothing would ever be measured again.
func TestWindowHasAFloor(t *testing.T) {
	c := New(Config{})
	c.rate = 1
	if w := c.Window(); w != 32*kib {
		t.Errorf("window %d, want two of the smallest chunks", w)
	}
}

// Memory rules over everything else, down to nothing, and what was granted
// stays granted.
func TestMemoryIsObeyed(t *testing.T) {
	c := New(Config{})
	c.Grant(0, 0)
	for _, n := range []int64{100 * kib, 32 * kib, 5, 1, 0, -1} {
		c.SetMax(n)
		window, chunk := c.Grant(sec, 0)
		if window > max(n, 0) || chunk > max(window/2, 1) || chunk < 1 {
			t.Errorf("memory for %d: window %d, chunk %d", n, window, chunk)
		}
		if c.Edge() != 256*kib {
			t.Errorf("memory for %d: edge %d went back", n, c.Edge())
		}
	}
	if c.Due(0) {
		t.Error("due without anything to grant")
	}
	c.SetMax(64 * mib)
	if !c.Due(0) {
		t.Error("not due when there is memory again")
	}
	if window, _ := c.Grant(sec, 0); window != 256*kib {
		t.Errorf("window %d when there is memory again", window)
	}
}

// A shorter round trip measured elsewhere is believed, a longer one is not:
// it may have waited behind data.
func TestRTTKeepsTheLeast(t *testing.T) {
	c := New(Config{})
	for _, tt := range []struct{ d, want time.Duration }{
		{0, 0}, {-1, 0}, {50 * ms, 50 * ms}, {70 * ms, 50 * ms}, {20 * ms, 20 * ms},
	} {
		if c.RTT(tt.d); c.rtt != tt.want {
			t.Errorf("after %v: %v, want %v", tt.d, c.rtt, tt.want)
		}
	}
}

// A client that took its time to begin is not on a slow link.
func TestSlowStartOfAClientIsNotItsLink(t *testing.T) {
	s := &steady{c: New(Config{}), now: 900 * ms} // any longer, and it is idle
	s.c.Grant(0, 0)
	s.chunk(4)
	if got := s.c.Rate(); got < 10*mib {
		t.Errorf("measures %d KiB/s", got/kib)
	}
	if s.c.rtt != 0 {
		t.Errorf("measures a round trip of %v", s.c.rtt)
	}
}

// The wait of a client out of credit begins anew with the grant: however long
// it had none before, what comes after the grant is a round trip.
func TestRoundTripAfterALongWait(t *testing.T) {
	s := &steady{c: New(Config{})}
	s.chunk(3) // and an ack
	for s.c.arrived < s.c.told {
		s.now += ms
		s.c.Arrived(s.now, 64*kib)
	}
	s.c.rtt = 0
	s.now += 60 * sec
	s.c.Grant(s.now, s.c.arrived)
	s.c.Arrived(s.now+900*ms, packet)
	if s.c.rtt != 900*ms {
		t.Errorf("round trip %v, want 900ms", s.c.rtt)
	}
}

// steady drives a controller as a session does, one chunk at a time.
type steady struct {
	c   *Controller
	now time.Duration
	n   int64
}

func (s *steady) chunk(reads int) {
	for range reads {
		s.now += 100 * time.Microsecond
		s.n += 64 * kib
		s.c.Arrived(s.now, 64*kib)
	}
	if s.c.Due(s.n) {
		s.c.Grant(s.now, s.n)
	}
}

func TestNothingIsAllocated(t *testing.T) {
	s := &steady{c: New(Config{})}
	if n := testing.AllocsPerRun(1000, func() { s.chunk(4) }); n != 0 {
		t.Errorf("%v allocations a chunk", n)
	}
}

func BenchmarkArrivedDueGrant(b *testing.B) {
	s := &steady{c: New(Config{})}
	b.ReportAllocs()
	for b.Loop() {
		s.chunk(1)
	}
}

func BenchmarkPace(b *testing.B) {
	p := NewPace(60 * sec)
	p.IdleDrop("192.0.2.1", 20*sec)
	b.ReportAllocs()
	for b.Loop() {
		p.Interval("192.0.2.1")
		p.Survived("192.0.2.1", 20*sec)
	}
}
