package middleware

import (
	"math/rand/v2"
	"sync"
	"testing"
)

// Connections that want all they can get come to share evenly with those that
// came later, within a few grants, and leave as much for the next one.
func TestAllotmentsComeToEqualParts(t *testing.T) {
	for _, n := range []int{1, 4, 50, 1000} {
		b := newBudget(256 << 20)
		allotments := make([]*allotment, n)
		for i := range allotments {
			allotments[i] = b.allotment(maxAllotment)
			allotments[i].reserve(maxAllotment)
		}
		for range 30 {
			for _, l := range allotments {
				l.reserve(maxAllotment)
			}
		}
		least, most := allotments[0].kept, allotments[0].kept
		for _, l := range allotments {
			least, most = min(least, l.kept), max(most, l.kept)
		}
		fair := min(maxAllotment, b.total/int64(n+1))
		if least < fair/2 || most > fair*2 {
			t.Errorf("of %d, one has %d bytes and another %d, expected about %d", n, least, most, fair)
		}
		if got := b.allotment(maxAllotment).reserve(firstAllotment); got < min(firstAllotment, fair)/2 {
			t.Errorf("beside %d that want everything, a new one reserves %d bytes", n, got)
		}
		if b.kept > b.total-b.total/8 {
			t.Errorf("%d have reserved %d of %d bytes: nothing is left for others' blocks", n+1, b.kept, b.total)
		}
	}
}

func TestMemoryIsServedInTheOrderOfAsking(t *testing.T) {
	const n = 1 << 20
	b := newBudget(n)
	holder := b.allotment(n)
	if !holder.tryTake(n) {
		t.Fatal("the first allotment cannot have everything")
	}
	order := make(chan int, 3)
	var allotments []*allotment
	var all sync.WaitGroup
	for i := range 3 {
		l := b.allotment(n)
		allotments = append(allotments, l)
		all.Go(func() {
			if l.take(n/2, nil) {
				order <- i
				l.give(n / 2)
			}
		})
		for { // until it stands in the queue
			b.mu.Lock()
			waiting := b.queue.Len()
			b.mu.Unlock()
			if waiting == i+1 {
				break
			}
		}
	}
	if b.allotment(n).tryTake(1) {
		t.Error("an allotment takes memory that others have been waiting for")
	}
	b.mu.Lock() // one at a time: else the order of the goroutines decides
	holder.change(0, n/2)
	b.mu.Unlock()
	for want := range allotments {
		b.mu.Lock()
		b.serve()
		b.mu.Unlock()
		if got := <-order; got != want {
			t.Errorf("number %d got memory, expected %d", got, want)
		}
	}
	all.Wait()
}

// Whatever allotments do at the same time, the total holds, nobody waits for ever,
// and everything comes back.
func TestAllotmentsInDisorderKeepTheTotal(t *testing.T) {
	b := newBudget(minMemory)
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() {
			rnd := rand.New(rand.NewPCG(1, uint64(i)))
			l := b.allotment([]int64{plainAllotment, maxAllotment}[i%2])
			defer l.close()
			stored := make(chan int64, 100)
			var worker sync.WaitGroup
			worker.Go(func() {
				for n := range stored {
					l.give(n)
				}
			})
			for range 500 {
				switch n := int64(blockSizes[rnd.IntN(2)]); {
				case i%2 == 1 && rnd.IntN(3) == 0:
					l.reserve(rnd.Int64N(1 << 20))
				case rnd.IntN(10) == 0: // gives up at once, or nearly
					stop := make(chan struct{})
					close(stop)
					if l.take(n, stop) {
						stored <- n
					}
				case l.tryTake(n) || l.take(n, nil):
					stored <- n
				}
				b.mu.Lock()
				if b.allotted > b.total || b.kept > b.allotted {
					t.Errorf("%d bytes allotted and %d kept of %d", b.allotted, b.kept, b.total)
				}
				b.mu.Unlock()
			}
			close(stored)
			worker.Wait()
		})
	}
	all.Wait()
	if b.allotted != 0 || b.kept != 0 || b.queue.Len() != 0 {
		t.Errorf("%d bytes allotted, %d kept, %d waiting at the end", b.allotted, b.kept, b.queue.Len())
	}
}

func TestAClosedAllotmentReservesNothing(t *testing.T) {
	b := newBudget(minMemory)
	l := b.allotment(maxAllotment)
	l.reserve(1 << 20)
	l.close()
	l.reserve(1 << 20)
	if b.allotted != 0 {
		t.Errorf("%d bytes are allotted by a connection that is over", b.allotted)
	}
}
