package flow

import (
	"fmt"
	"testing"
	"time"
)

// throttle grants no more than rate bytes a second up to a time, as a limit of
// bandwidth has the server do through SetMax.
type throttle struct {
	*Controller
	rate  float64
	until time.Duration
	paid  int64
}

func (t *throttle) Due(int64) bool { return true }

func (t *throttle) Grant(now time.Duration, stored int64) (window, chunk int64) {
	t.SetMax(gib)
	if now < t.until {
		affordable := int64(t.rate*now.Seconds()) + 64*kib
		t.paid = max(t.paid, min(affordable, stored+t.Window()))
		t.SetMax(t.paid - stored)
	}
	window, chunk = t.Controller.Grant(now, stored)
	t.SetMax(gib)
	return window, chunk
}

// A link that is held back is not taken for a slow one for long: when it is let
// go it is filled soon. Nor is it taken for a fast one: when it becomes eight
// times slower no ping is late, held back or not.
func TestALinkThatIsHeldBackIsNotMisjudged(t *testing.T) {
	const until = 6 * sec
	for _, rate := range []float64{256 * kib, 4 * mib, 64 * mib} {
		for _, rtt := range []time.Duration{2 * ms, 50 * ms, 200 * ms} {
			for _, part := range []float64{0.05, 0.3, 0.9} {
				p := path{timeout: 20 * sec, rate: rate, rtt: rtt}
				p.settled = until + settling(p)
				p.duration = p.settled + 4*sec
				for at := time.Duration(0); at < p.duration; at += 20 * ms {
					p.memory = append(p.memory, room{at, gib}) // as often those that wait are served
				}
				name := fmt.Sprintf("%.0f KiB/s, rtt %v, held back to %.0f %%", rate/kib, rtt, part*100)

				r := simulate(p, &throttle{Controller: New(Config{MaxWindow: gib}), rate: rate * part, until: until})
				if got := r.goodput(2*sec, until) / (rate * part); got < 0.9 {
					t.Errorf("%s: %.0f %% of that come in", name, got*100)
				}
				if got := r.goodput(p.settled, p.duration) / rate; got < 0.85 {
					t.Errorf("%s: let go, it brings %.0f %% of what it could", name, got*100)
				}
				if got := float64(r.storedAt(until)); r.overran || got > rate*part*until.Seconds()+64*kib {
					t.Errorf("%s: more came than was granted", name)
				}
				for _, collapse := range []time.Duration{until - 2*sec, p.settled + sec} {
					p.changes = []change{{collapse, rate / eightfold}}
					r := simulate(p, &throttle{Controller: New(Config{MaxWindow: gib}), rate: rate * part, until: until})
					if r.worstPing > p.timeout {
						t.Errorf("%s, eight times slower at %v: a ping takes %v", name, collapse, r.worstPing)
					}
				}
			}
		}
	}
}
