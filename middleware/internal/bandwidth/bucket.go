package bandwidth

import "time"

// burst is how much of its rate a bucket saves up while less is used. It is
// also how late a wait for bytes may end without a loss.
const burst = 200 * time.Millisecond

// A bucket fills at a rate, and bytes are taken out of it. It may owe some.
type bucket struct {
	rate float64 // bytes a second; 0: no bound
	left float64
	at   time.Duration // when left was counted
}

func newBucket(rate int64, now time.Duration) bucket {
	b := bucket{rate: float64(rate), at: now}
	b.left = b.most()
	return b
}

// most is what it holds when it is full: a quantum at least.
func (b *bucket) most() float64 { return max(b.rate*burst.Seconds(), minQuantum) }

// put puts n bytes in, or takes them out where n is negative.
func (b *bucket) put(now time.Duration, n int64) {
	b.fill(now)
	b.left = min(b.left+float64(n), b.most())
}

// until returns after which time n bytes are there: 0 means now.
func (b *bucket) until(now time.Duration, n int64) time.Duration {
	b.fill(now)
	if lacks := float64(n) - b.left; b.rate > 0 && lacks > 0 {
		return max(1, time.Duration(lacks/b.rate*float64(time.Second)))
	}
	return 0
}

func (b *bucket) fill(now time.Duration) {
	if now > b.at {
		b.left = min(b.left+b.rate*(now-b.at).Seconds(), b.most())
		b.at = now
	}
}
