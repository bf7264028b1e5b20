package main

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// late is what a busy machine adds to a pause: mostly little, sometimes much.
func late(random *rand.Rand) time.Duration {
	return time.Duration(random.ExpFloat64() * float64(30*time.Millisecond))
}

// accused returns in how many of 1000 runs a client with such pauses is said to
// have no chance in them.
func accused(pause func(*rand.Rand) time.Duration) (n int) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		p := newPlay(newRound(nil), &Case{Name: "jitter"})
		var seen []time.Duration
		for range pauses {
			seen = append(seen, pause(random)+late(random))
		}
		slices.Sort(seen)
		p.jitter(seen)
		n += min(p.told("jitter"), 1)
	}
	return n
}

// pauses is how many a client makes in the cases, if it comes back each time.
const pauses = 15

func TestJitterTellsHabitFromChance(t *testing.T) {
	const first = 500 * time.Millisecond
	for name, pause := range map[string]func(*rand.Rand) time.Duration{
		"from half to one and a half times": func(r *rand.Rand) time.Duration { return first/2 + time.Duration(r.Int64N(int64(first))) },
		"from half to once":                 func(r *rand.Rand) time.Duration { return first/2 + time.Duration(r.Int64N(int64(first/2))) },
		"from nothing to once":              func(r *rand.Rand) time.Duration { return time.Duration(r.Int64N(int64(first))) },
	} {
		if n := accused(pause); n > 1 {
			t.Errorf("%s the first pause: %d of 1000 runs are found fault with", name, n)
		}
	}
	if n := accused(func(*rand.Rand) time.Duration { return first }); n < 900 {
		t.Errorf("always the same: only %d of 1000 runs are found fault with", n)
	}
	if n := accused(func(*rand.Rand) time.Duration { return 5 * first }); n != 1000 {
		t.Errorf("always the same, and long: only %d of 1000 runs are found fault with", n)
	}
}
