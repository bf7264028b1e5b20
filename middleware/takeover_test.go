package middleware_test

import (
	"strconv"
	"testing"

	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/resume"
)

// The newest connection wins, at once, while the old one is still there and
// silent; and nothing the old one sends afterwards reaches the upload.
func TestNewestConnectionWins(t *testing.T) {
	r := newRig(t, rigOptions{})
	data := content(40, 600_000)
	for i := range 20 {
		id := resume.ID("a-takeover-of-connections-" + strconv.Itoa(i))
		old := r.full()
		old.Send(open(id, int64(len(data))))
		old.Stream(next[*protocol.Ready](old), data[:100_000], 50_000)
		old.Acked(100_000)

		p := r.full()
		p.Send(open(id, int64(len(data))))
		ready := next[*protocol.Ready](p) // the first answer, not "locked"
		if ready.Cursor != 100_000 {
			t.Fatalf("goes on at %d, expected 100000", ready.Cursor)
		}
		old.Data(content(99, 100_000)) // not our file: must not get in
		p.Stream(ready, data[100_000:], 64<<10)
		p.Send(&protocol.Finish{Digest: &protocol.Digest{SHA256: sum(data)}})
		next[*protocol.Done](p)
		fails(old, protocol.Superseded)
	}
}

func TestTakeoverInMidStreamKeepsWhatWasDurable(t *testing.T) {
	r := newRig(t, rigOptions{})
	data := content(41, 2<<20)
	id := resume.NewID()
	var last int64
	for {
		p := r.full()
		p.Send(open(id, int64(len(data))))
		ready := next[*protocol.Ready](p)
		if ready.Offset < last {
			t.Fatalf("offset went back from %d to %d", last, ready.Offset)
		}
		last = ready.Offset
		if ready.Cursor == int64(len(data)) {
			p.Send(&protocol.Finish{Digest: &protocol.Digest{SHA256: sum(data)}})
			next[*protocol.Done](p)
			return
		}
		p.Data(data[ready.Cursor:min(ready.Cursor+200_000, int64(len(data)))])
		p.Acked(min(ready.Cursor+200_000, int64(len(data)))) // then leave it half-open
	}
}

func TestALaneSupersedesOnlyLanesItOverlaps(t *testing.T) {
	r := newRig(t, rigOptions{})
	id := resume.NewID()
	lane := func(start, end int64) *peer {
		p := r.full()
		o := open(id, 300_000)
		o.Range = &protocol.Range{Start: start, End: &end}
		p.Send(o)
		return ready(p)
	}
	a, b, c := lane(0, 100_000), lane(100_000, 200_000), lane(200_000, 300_000)
	b2 := lane(150_000, 250_000)
	fails(b, protocol.Superseded)
	fails(c, protocol.Superseded)
	a.Data(content(1, 100_000))
	a.Acked(100_000)
	whole := r.full()
	whole.Send(open(id, 300_000))
	if got := next[*protocol.Ready](whole); got.Cursor != 100_000 {
		t.Errorf("goes on at %d, expected 100000", got.Cursor)
	}
	fails(a, protocol.Superseded)
	fails(b2, protocol.Superseded)
}
