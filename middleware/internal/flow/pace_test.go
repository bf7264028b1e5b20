package flow

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

const phone, office = "192.0.2.1", "198.51.100.7"

// survive has a line to the host survive n silences of a whole interval.
func survive(p *Pace, host string, n int) {
	for range n {
		p.Survived(host, p.Interval(host))
	}
}

func TestPingInterval(t *testing.T) {
	for _, tt := range []struct {
		name     string
		deadline time.Duration
		lived    func(*Pace)
		want     time.Duration
	}{
		{"starts at 15 s", 60 * sec, func(*Pace) {}, 15 * sec},
		{"starts at a third of a short deadline", 12 * sec, func(*Pace) {}, 4 * sec},
		{"grows while the line stays up", 60 * sec, func(p *Pace) { survive(p, phone, 3) }, 18 * sec},
		{"stays below 30 s", 60 * sec, func(p *Pace) { survive(p, phone, 100) }, 25 * sec},
		{"stays below 30 s whatever the deadline", 300 * sec, func(p *Pace) { survive(p, phone, 100) }, 25 * sec},
		{"leaves room for two pings", 48 * sec, func(p *Pace) { survive(p, phone, 100) }, 20 * sec},
		{"is no longer for a shorter silence", 60 * sec, func(p *Pace) { p.Survived(phone, 14*sec) }, 15 * sec},
		{"shrinks after an idle drop", 60 * sec, func(p *Pace) { p.IdleDrop(phone, 16*sec) }, 7500 * ms},
		{"shrinks below the silence of the drop", 60 * sec, func(p *Pace) { p.IdleDrop(phone, 12*sec) }, 6 * sec},
		{"shrinks to 5 s at most", 60 * sec, func(p *Pace) {
			for range 10 {
				p.IdleDrop(phone, 20*sec)
			}
		}, 5 * sec},
		{"takes no notice of a drop while busy", 60 * sec, func(p *Pace) { p.IdleDrop(phone, 2*sec) }, 15 * sec},
		{"stays well below a silence that killed", 60 * sec, func(p *Pace) {
			p.IdleDrop(phone, 16*sec)
			survive(p, phone, 15)
		}, 12 * sec},
		{"tries more when that has held for long", 60 * sec, func(p *Pace) {
			p.IdleDrop(phone, 16*sec)
			survive(p, phone, 200)
		}, 25 * sec},
		{"is a matter of one host", 60 * sec, func(p *Pace) {
			p.IdleDrop(office, 16*sec)
			survive(p, office, 2)
		}, 15 * sec},
	} {
		p := NewPace(tt.deadline)
		tt.lived(p)
		if got := p.Interval(phone); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// Behind a middlebox that forgets a silent line after some time, the interval
// finds its way below that time and keeps drops rare.
func TestPingIntervalFindsTheMiddlebox(t *testing.T) {
	for _, forgets := range []time.Duration{8 * sec, 12 * sec, 20 * sec, 24 * sec, 30 * sec} {
		p, drops := NewPace(60*sec), 0
		for range 1000 {
			if d := p.Interval(phone); d >= forgets {
				drops++
				p.IdleDrop(phone, d)
			} else {
				p.Survived(phone, d)
			}
		}
		if drops > 10 {
			t.Errorf("forgets after %v: %d of 1000 silences ended in a drop", forgets, drops)
		}
	}
}

// The memory is bounded, the hosts heard of longest ago go first, and hosts
// that taught nothing take no place.
func TestPaceForgetsTheOldest(t *testing.T) {
	p := NewPace(60 * sec)
	name := func(i int) string { return fmt.Sprint("host ", i) }
	for i := range 2 * maxHosts {
		p.IdleDrop(name(i), 20*sec)
		p.Survived(name(0), sec) // heard of again and again
		p.Survived("quiet", sec)
	}
	if n := len(p.hosts); n != maxHosts || p.order.Len() != n {
		t.Fatalf("%d hosts, %d in order; want %d", n, p.order.Len(), maxHosts)
	}
	for i, want := range map[int]time.Duration{
		0: 7500 * ms, 1: 15 * sec, maxHosts: 15 * sec, maxHosts + 1: 7500 * ms, 2*maxHosts - 1: 7500 * ms,
	} {
		if got := p.Interval(name(i)); got != want {
			t.Errorf("host %d: %v, want %v", i, got, want)
		}
	}
}

// Whatever is lived through, the interval stays within its bounds.
func TestPaceStaysWithinBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		deadline := time.Duration(rapid.Int64Range(int64(3*sec), int64(10*time.Minute)).Draw(t, "deadline"))
		p := NewPace(deadline)
		for range rapid.IntRange(0, 200).Draw(t, "events") {
			d := time.Duration(rapid.Int64Range(0, int64(2*deadline)).Draw(t, "silence"))
			if rapid.Bool().Draw(t, "drop") {
				p.IdleDrop(phone, d)
			} else {
				p.Survived(phone, d)
			}
			got := p.Interval(phone)
			if got > 25*sec || 2*got >= deadline || got < min(5*sec, deadline/3) {
				t.Fatalf("deadline %v: interval %v", deadline, got)
			}
		}
	})
}

func TestPaceIsSafeForConcurrentUse(t *testing.T) {
	p := NewPace(60 * sec)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 2000 {
				host := fmt.Sprint(i % (500 * (g + 1)))
				p.IdleDrop(host, 20*sec)
				p.Survived(host, p.Interval(host))
			}
		})
	}
	wg.Wait()
}
