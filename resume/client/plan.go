package client

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/wsingest/wsingest/resume"
)

// Lanes are seldom equally fast: of connections over one line, one may get a
// tenth of what another gets. So nothing is divided once for all. Each lane
// begins with a share of its own, so that the server writes few places at a
// time, and takes it piece by piece; when it has sent its share, it takes half
// of what another has left. A piece is about what the lane sends in a second, and
// less towards the end, where nobody is to wait long for the slowest. Pieces
// follow each other without a pause, so they may be small. Where the server may
// have bytes that it did not call durable yet, it is asked about each piece, lest
// they be sent again: for that pause they are longer.
const (
	leastPiece = 256 << 10
	firstPiece = 1 << 20
	lastPieces = 8 // how many times smaller they are
	pieceTime  = time.Second
	askedTime  = 4 * time.Second
)

// piece is a range that one lane sends, and how far it is.
type piece struct {
	resume.Range
	run                     run
	sent, received, durable int64
}

// Each of these raises a mark to a position, and returns by how much it rose.
func (p *piece) sentTo(to int64) int64     { return p.raise(&p.sent, to) }
func (p *piece) receivedTo(to int64) int64 { return p.raise(&p.received, to) }
func (p *piece) durableTo(to int64) int64  { return p.raise(&p.durable, to) }

func (p *piece) raise(mark *int64, to int64) int64 {
	d := max(0, to-max(*mark, p.Start))
	*mark = max(*mark, to)
	return d
}

// share is what one lane has yet to take.
type share []resume.Range

func (s share) size() (n int64) {
	for _, r := range s {
		n += r.End - r.Start
	}
	return n
}

// plan is what is left for all lanes to take.
type plan struct {
	fresh bool         // the server has nothing of it
	busy  atomic.Int32 // lanes whose pieces were not all received

	mu     sync.Mutex
	shares []share
}

// newPlan divides what is missing evenly among n lanes.
func newPlan(missing []resume.Range, n int, fresh bool) *plan {
	p := &plan{fresh: fresh, shares: make([]share, n)}
	p.busy.Store(int32(n))
	left := share(missing)
	for i := range p.shares[1:] {
		p.shares[i], left = split(left, left.size()/int64(n-i))
	}
	p.shares[n-1] = left
	return p
}

// split cuts ranges in two, the first of about size bytes: whole messages, as
// far as there are.
func split(ranges []resume.Range, size int64) (first, rest share) {
	for i, r := range ranges {
		at := min(r.End, (r.Start+size+leastPiece/2)/leastPiece*leastPiece)
		if at < r.End {
			if at > r.Start {
				first = append(first, resume.Range{Start: r.Start, End: at})
				r.Start = at
			}
			return first, append(share{r}, ranges[i+1:]...)
		}
		first = append(first, r)
		size -= r.End - r.Start
	}
	return first, nil
}

// time is how long a lane should have to do with a piece.
func (p *plan) time() time.Duration {
	if p.fresh {
		return pieceTime
	}
	return askedTime
}

// take returns the next piece of a lane, of about size bytes, and less towards
// the end; nil when nothing is left.
func (p *plan) take(lane int, size int64) *piece {
	p.mu.Lock()
	defer p.mu.Unlock()
	size = min(size, max(p.left()/int64(2*len(p.shares)), size/lastPieces, leastPiece))
	if len(p.shares[lane]) == 0 {
		p.shares[lane] = p.half()
	}
	s := p.shares[lane]
	if len(s) == 0 {
		return nil
	}
	end := min(s[0].End, (s[0].Start+size)/leastPiece*leastPiece)
	if end <= s[0].Start || s[0].End-end < leastPiece {
		end = s[0].End
	}
	piece := &piece{Range: resume.Range{Start: s[0].Start, End: end}}
	if s[0].Start = end; s[0].Empty() {
		s = s[1:]
	}
	p.shares[lane] = s
	return piece
}

// left returns how many bytes nobody has taken. p.mu is held.
func (p *plan) left() (n int64) {
	for _, s := range p.shares {
		n += s.size()
	}
	return n
}

// half takes the second half of the largest share.
func (p *plan) half() (taken share) {
	most := &p.shares[0]
	for i := range p.shares {
		if p.shares[i].size() > most.size() {
			most = &p.shares[i]
		}
	}
	*most, taken = split(*most, most.size()/2)
	if len(taken) == 0 { // a single message
		*most, taken = taken, *most
	}
	return taken
}
