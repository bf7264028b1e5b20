package bandwidth

import (
	"math"
	"testing"
	"time"
)

const mib = 1 << 20

// sim is a divider with a clock, and connections that use what they get.
type sim struct {
	d   *Divider
	now time.Duration
}

// conn wants ahead bytes more than it has used, and brings link bytes a second
// at most; 0: all it may at once.
type conn struct {
	*Share
	paid, used float64
	link       float64
	ahead      float64
}

func (s *sim) conn(owner string, link float64) *conn {
	c := &conn{link: link, ahead: mib}
	c.Share = s.d.Join(s.now, owner, func(n int64) { c.paid += float64(n) })
	return c
}

// run lets time pass in steps: connections bring what they may, ask for more,
// and whoever waits is served when the divider says so, late by as much.
func (s *sim) run(total, late time.Duration, conns ...*conn) {
	const step = time.Millisecond
	var due time.Duration
	for end := s.now + total; s.now < end; s.now += step {
		for _, c := range conns {
			most := c.paid
			if c.link > 0 {
				most = min(most, c.used+c.link*step.Seconds())
			}
			c.used = max(c.used, most)
			if n := int64(c.used + c.ahead - c.paid); n > 0 {
				c.paid += float64(c.Ask(s.now, n))
			}
		}
		if s.now < due {
			continue
		}
		gifts, again, ok := s.d.Serve(s.now)
		for _, g := range gifts {
			g.Tell()
		}
		if due = 0; ok {
			due = s.now + again + late
		}
	}
}

func near(t *testing.T, what string, got, want, within float64) {
	t.Helper()
	if math.Abs(got/want-1) > within {
		t.Errorf("%s: %.0f bytes, expected %.0f within %.1f %%", what, got, want, within*100)
	}
}

func sum(conns []*conn) (all float64) {
	for _, c := range conns {
		all += c.used
	}
	return all
}

func TestTheTotalHoldsAndIsSharedEqually(t *testing.T) {
	for _, n := range []int{1, 2, 50, 500} {
		for _, late := range []time.Duration{0, 20 * time.Millisecond} {
			s := &sim{d: New(Limits{Total: 20 * mib})}
			var conns []*conn
			for range n {
				conns = append(conns, s.conn("", 0))
			}
			s.run(10*time.Second, late, conns...)
			near(t, "all together", sum(conns), 200*mib, 0.025)
			for _, c := range conns { // the first have what was saved up
				if fair := sum(conns) / float64(n); c.used < fair*0.9 {
					t.Errorf("one of %d has %.0f bytes, its part is %.0f", n, c.used, fair)
				}
			}
		}
	}
}

func TestWhatASlowOneLeavesIsTheOthers(t *testing.T) {
	s := &sim{d: New(Limits{Total: 10 * mib})}
	slow, a, b := s.conn("", mib), s.conn("", 0), s.conn("", 0)
	s.run(10*time.Second, 0, slow, a, b)
	near(t, "the slow one", slow.used, 10*mib, 0.02)
	near(t, "one of the others", a.used, 45*mib, 0.05)
	near(t, "the other", b.used, 45*mib, 0.05)
}

func TestOwnersAndConnectionsHaveTheirOwnLimits(t *testing.T) {
	s := &sim{d: New(Limits{PerConnection: 4 * mib, PerOwner: 6 * mib, Total: 9 * mib})}
	alice := []*conn{s.conn("alice", 0), s.conn("alice", 0), s.conn("alice", 0)}
	bob := []*conn{s.conn("bob", 0)}
	s.run(10*time.Second, 0, append(alice, bob...)...)
	near(t, "all together", sum(alice)+sum(bob), 90*mib, 0.03)
	near(t, "what one owner leaves of the total", bob[0].used, 30*mib, 0.05)

	was := bob[0].used
	s.run(10*time.Second, 0, bob...) // alice's have nothing to send
	near(t, "a connection alone", bob[0].used-was, 40*mib, 0.05)

	was = sum(alice)
	s.run(10*time.Second, 0, alice...)
	near(t, "one owner's", sum(alice)-was, 60*mib, 0.08) // with what they had not used
	near(t, "each of them", alice[0].used, sum(alice)/3, 0.05)
}

// A connection that cannot use its turn, since its owner has had enough, holds
// up nobody else's.
func TestAnOwnerAtItsLimitHoldsUpNobody(t *testing.T) {
	s := &sim{d: New(Limits{PerOwner: mib, Total: 100 * mib})}
	var crowd []*conn
	for range 200 {
		crowd = append(crowd, s.conn("mallory", 0))
	}
	alice := s.conn("alice", 0)
	s.run(5*time.Second, 0, append(crowd, alice)...)
	near(t, "alice", alice.used, 5*mib, 0.05)
	near(t, "the crowd", sum(crowd), 5*mib, 0.05)
}

// Bytes nobody was asked for are paid for later, by whom they came from: also
// when he comes anew.
func TestWhatCameUnaskedIsPaidFor(t *testing.T) {
	s := &sim{d: New(Limits{PerOwner: mib})}
	var brought float64
	for range 100 { // connections that bring 256 KiB and are gone
		c := s.conn("mallory", 0)
		c.Spend(s.now, 128<<10)
		brought += 256 << 10
		c.Leave(s.now, -128<<10)
		s.now += 100 * time.Millisecond
	}
	c := s.conn("mallory", 0)
	s.run(20*time.Second, 0, c)
	near(t, "in 30 s", brought+c.used, 30*mib, 0.03)

	other := s.conn("alice", 0)
	s.run(time.Second, 0, other)
	near(t, "another owner", other.used, mib, 0.25)
}

func TestWhatALeavingOneDidNotUseIsTheOthers(t *testing.T) {
	s := &sim{d: New(Limits{Total: mib})}
	a := s.conn("", 0)
	if got := a.Ask(0, 100<<10); got != 100<<10 {
		t.Fatalf("got %d of the first 100 KiB", got)
	}
	a.Leave(0, 100<<10)
	if got := s.conn("", 0).Ask(0, 200<<10); got != 200<<10 {
		t.Errorf("got %d bytes, expected all of what is saved up", got)
	}
}

func TestAShareThatChangesItsOwnerKeepsItsWish(t *testing.T) {
	s := &sim{d: New(Limits{PerOwner: mib})}
	a := s.conn("alice", 0)
	a.Ask(0, 10*mib)
	a.Belong(0, "bob")
	if gifts, _, _ := s.d.Serve(0); len(gifts) != 1 {
		t.Fatal("what bob may have was not given")
	}
	if a.Leave(0, 0); s.d.queue.Len() != 0 {
		t.Error("one that has left still waits")
	}
	if _, _, ok := s.d.Serve(time.Second); ok {
		t.Error("there is still somebody to serve")
	}
}

// Owners come and go without end: those that owe nothing are forgotten.
func TestOwnersThatAreGoneAreForgotten(t *testing.T) {
	s := &sim{d: New(Limits{PerOwner: mib})}
	for i := range 10_000 {
		s.conn(string(rune(i)), 0).Leave(s.now, 0)
	}
	if n := len(s.d.owners); n > 200 {
		t.Errorf("%d owners are remembered", n)
	}
}

func TestServingManyThatWaitIsCheap(t *testing.T) {
	s := &sim{d: New(Limits{Total: mib})}
	for range 10_000 {
		s.conn("", 0).Ask(0, mib)
	}
	if n := testing.AllocsPerRun(100, func() {
		s.now += 10 * time.Millisecond
		s.d.Serve(s.now)
	}); n > 1 {
		t.Errorf("%.0f allocations to serve", n)
	}
}
