package client

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/wsingest/wsingest/resume"
)

// TestLanesTakeEverythingOnce: whatever is missing, in whatever order and sizes
// lanes come for more.
func TestLanesTakeEverythingOnce(t *testing.T) {
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		var missing []resume.Range
		for at := int64(0); len(missing) < 1+rnd.IntN(5); {
			at += rnd.Int64N(3 << 20)
			end := at + 1 + rnd.Int64N(20<<20)
			missing, at = append(missing, resume.Range{Start: at, End: end}), end+1
		}
		n := 1 + rnd.IntN(8)
		p := newPlan(slices.Clone(missing), n)
		var taken resume.Extents
		var sum int64
		for idle := 0; idle < 100; {
			piece := p.take(rnd.IntN(n), 1+rnd.Int64N(8<<20))
			if piece == nil {
				idle++
				continue
			}
			idle = 0
			sum += piece.End - piece.Start
			taken, _ = taken.Add(resume.Extent{Range: piece.Range})
		}
		var got []resume.Range
		for _, e := range taken {
			got = append(got, e.Range)
		}
		if !slices.Equal(got, missing) || sum != share(missing).size() {
			t.Errorf("seed %d, %d lanes: %v was missing, %d bytes were taken: %v", seed, n, missing, sum, got)
		}
	}
}

// TestNoLaneEndsLate: a slow lane holds one small piece when the others have
// taken everything else.
func TestNoLaneEndsLate(t *testing.T) {
	p := newPlan([]resume.Range{{Start: 0, End: 1 << 30}}, 4)
	if slow := p.take(3, leastPiece); slow.End-slow.Start != leastPiece {
		t.Errorf("the slow lane took %v", slow.Range)
	}
	took := int64(leastPiece)
	for lane := 0; ; lane = (lane + 1) % 3 {
		piece := p.take(lane, 64<<20)
		if piece == nil {
			break
		}
		took += piece.End - piece.Start
	}
	if took != 1<<30 {
		t.Errorf("the others left %d bytes to the slow lane", 1<<30-took)
	}
}
