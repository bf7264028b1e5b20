package main

import (
	"math"
	"slices"
	"strings"
	"time"
)

// pool holds against the client what shows only over many cases, once they have
// all been played.
func (r *round) pool() {
	if p := r.play("id"); p != nil {
		p.mu.Lock()
		p.random(r.own())
		p.mu.Unlock()
	}
	if p := r.play("jitter"); p != nil {
		pauses := r.pauses()
		p.mu.Lock()
		p.jitter(pauses)
		p.mu.Unlock()
	}
}

// own returns the ids that the client made.
func (r *round) own() (ids []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id := range r.ids {
		if !strings.HasPrefix(id, madeHere) {
			ids = append(ids, id)
		}
	}
	return ids
}

// fewestIDs is how many ids it takes to see of what they are made.
const fewestIDs = 16

// random estimates how much of the ids is random.
func (p *play) random(ids []string) {
	if len(ids) < fewestIDs {
		return
	}
	if bits := randomBits(ids); bits < 128 {
		p.find("id", "%d ids, such as %s, have at most %.0f random bits, expected at least 128", len(ids), ids[0], bits)
	}
}

// randomBits returns an upper bound of the random bits in ids of one kind: what
// never changes is not random, and no character has more bits than the alphabet
// it is from.
func randomBits(ids []string) float64 {
	shortest := len(slices.MinFunc(ids, func(a, b string) int { return len(a) - len(b) }))
	at := make([]map[byte]bool, shortest)
	all := map[byte]bool{}
	for i := range at {
		at[i] = map[byte]bool{}
		for _, id := range ids {
			at[i][id[i]] = true
		}
		if len(at[i]) > 4 {
			for b := range at[i] {
				all[b] = true
			}
		}
	}
	bits := 0.0
	for _, seen := range at {
		if len(seen) <= 4 {
			bits += math.Ceil(math.Log2(float64(len(seen)))) // such as the version of a UUID
		} else {
			bits += math.Log2(alphabet(all))
		}
	}
	return bits
}

// alphabet returns the size of the smallest usual alphabet that has them all.
func alphabet(seen map[byte]bool) float64 {
	for _, a := range []string{"0123456789", "0123456789abcdef", "0123456789ABCDEF", "0123456789abcdefghijklmnopqrstuvwxyz"} {
		if !slices.ContainsFunc(keys(seen), func(b byte) bool { return !strings.ContainsRune(a, rune(b)) }) {
			return float64(len(a))
		}
	}
	return 64
}

func keys(m map[byte]bool) (bs []byte) {
	for b := range m {
		bs = append(bs, b)
	}
	return bs
}

// pauses returns how long the client waited after connections that broke, having
// got somewhere, and where nobody told it to wait.
func (r *round) pauses() (pauses []time.Duration) {
	for _, p := range r.plays {
		p.mu.Lock()
		for i, c := range p.conns[:max(len(p.conns)-1, 0)] {
			if c.broke {
				pauses = append(pauses, p.conns[i+1].began.Sub(c.parted))
			}
		}
		p.mu.Unlock()
	}
	slices.Sort(pauses)
	return pauses
}

// fewestPauses is how many pauses it takes to tell chance from habit.
const fewestPauses = 8

// jitter looks how many pauses are nearly as short as the shortest. What a busy
// machine adds, it adds; so the very shortest is left out, and a few more may be
// longer.
func (p *play) jitter(pauses []time.Duration) {
	n := len(pauses)
	p.note(nil, "pauses: %v", pauses)
	if n < fewestPauses {
		return
	}
	shortest, alike := pauses[1], 0
	for _, d := range pauses {
		if d < shortest+shortest/8 {
			alike++
		}
	}
	if alike*4 >= n*3 {
		p.find("jitter", "%d of %d pauses before another attempt were the same, about %v; expected a random part in them",
			alike, n, shortest.Round(time.Millisecond))
	}
}
