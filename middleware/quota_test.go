package middleware_test

import (
	"context"
	"iter"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wsingest/wsingest/middleware"
	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/resume"
)

func TestQuotaBoundsWhatAnOwnerHasInTheStore(t *testing.T) {
	r := newRig(t, rigOptions{Options: middleware.Options{
		QuotaPerOwner: 1000,
		Owner:         func(r *http.Request) string { return r.URL.Query().Get("user") },
	}})
	as := func(user string) *peer { return r.dial("user="+user, protocol.Subprotocol) }
	begin := func(p *peer, id resume.ID, length int64) *protocol.Ready {
		p.Send(open(id, length))
		return next[*protocol.Ready](p)
	}
	first := resume.NewID()
	alice := as("alice")
	begin(alice, first, 600)

	p := as("alice")
	p.Send(open(resume.NewID(), 500))
	fails(p, protocol.QuotaExceeded)
	begin(as("bob"), resume.NewID(), 1000) // his own quota
	begin(as("alice"), resume.NewID(), 300)
	begin(as("alice"), first, 600) // to resume takes nothing more

	p = as("alice")
	p.Send(&protocol.Open{ID: string(resume.NewID())})
	if most := next[*protocol.Ready](p).Limits.MaxSize; most != 100 {
		t.Errorf("an upload of unknown length may have %d bytes, expected the 100 that are left", most)
	}
	p.Data(content(1, 101))
	fails(p, protocol.QuotaExceeded)

	// What is delivered makes room: the answer is in the store, the bytes are not.
	alice = as("alice")
	begin(alice, first, 600)
	alice.Data(content(1, 600))
	alice.Send(&protocol.Finish{})
	next[*protocol.Done](alice)
	begin(as("alice"), resume.NewID(), 600)
}

// Uploads of unknown length share the quota as they grow: what one has taken,
// another has not.
func TestUploadsOfUnknownLengthSideBySideStayWithinTheQuota(t *testing.T) {
	const quota = 100_000
	r := newRig(t, rigOptions{Options: middleware.Options{QuotaPerOwner: quota}})
	ids := []resume.ID{resume.NewID(), resume.NewID()}
	var peers []*peer
	for _, id := range ids {
		p := r.full()
		p.Send(&protocol.Open{ID: string(id)})
		if most := next[*protocol.Ready](p).Limits.MaxSize; most != quota {
			t.Errorf("an upload may have %d bytes while nothing is taken, expected %d", most, quota)
		}
		peers = append(peers, p)
	}
	for range 4 { // 80,000 bytes together
		for _, p := range peers {
			p.Data(content(1, 10_000))
		}
	}
	for _, p := range peers {
		p.Acked(40_000)
	}
	peers[0].Data(content(1, 15_000))
	peers[0].Acked(55_000)
	peers[1].Data(content(1, 15_000))
	fails(peers[1], protocol.QuotaExceeded)

	var held int64
	for _, id := range ids {
		st, err := r.store.Stat(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		held += st.Received.Size()
	}
	if held != 95_000 {
		t.Errorf("%d bytes are in the store, expected the 95,000 that fit into %d", held, quota)
	}

	// What the other one had not taken is there for whoever comes.
	p := r.full()
	p.Send(&protocol.Open{ID: string(ids[1])})
	if ready := next[*protocol.Ready](p); ready.Limits.MaxSize != 45_000 || ready.Cursor != 40_000 {
		t.Errorf("the refused upload goes on at %d up to %d, expected 40000 and 45000", ready.Cursor, ready.Limits.MaxSize)
	}
	p.Data(content(1, 5_000))
	p.Acked(45_000)
}

// The store may take its time to be looked through: nobody else waits for it.
func TestUploadsGoOnWhileTheStoreIsLookedThrough(t *testing.T) {
	slow := &slowLook{begun: make(chan struct{}, 1), end: make(chan struct{})}
	r := newRig(t, rigOptions{
		Options: middleware.Options{QuotaPerOwner: 1000},
		wrap:    func(s resume.Store) resume.Store { slow.Store = s; return slow },
	})
	p := r.full()
	p.Send(&protocol.Open{ID: string(resume.NewID())})
	next[*protocol.Ready](p)

	time.Sleep(1100 * time.Millisecond) // it is looked through once a second at most
	slow.on.Store(true)
	large := r.full()
	large.Send(open(resume.NewID(), 1001)) // too much, but that is for a fresh look to say
	<-slow.begun
	p.Data(content(1, 500))
	p.Acked(500)
	close(slow.end)
	fails(large, protocol.QuotaExceeded)
}

// slowLook is a store that takes until end to be looked through.
type slowLook struct {
	resume.Store
	on         atomic.Bool
	begun, end chan struct{}
}

func (s *slowLook) All(ctx context.Context) iter.Seq2[resume.State, error] {
	if s.on.Load() {
		s.begun <- struct{}{}
		<-s.end
	}
	return s.Store.All(ctx)
}

func TestWhatIsCancelledMakesRoomAtOnce(t *testing.T) {
	r := newRig(t, rigOptions{Options: middleware.Options{QuotaPerOwner: 1000}})
	for range 3 {
		p := r.full()
		p.Send(open(resume.NewID(), 900))
		next[*protocol.Ready](p)
		p.Data(content(1, 100))
		p.Send(&protocol.Cancel{})
		if !next[*protocol.Done](p).Cancelled {
			t.Fatal("the upload was not cancelled")
		}
	}
}

// One file after the other is never more than one, however fast they follow: the
// store is looked through once a second at most.
func TestWhatIsDeliveredMakesRoomAtOnce(t *testing.T) {
	r := newRig(t, rigOptions{Options: middleware.Options{QuotaPerOwner: 1000, MaxUploadsPerOwner: 1}})
	p := r.full()
	for range 5 {
		p.Send(open(resume.NewID(), 900))
		next[*protocol.Ready](p)
		p.Data(content(1, 900))
		p.Send(&protocol.Finish{})
		next[*protocol.Done](p)
	}
}

// What is delivered takes nothing of a quota, so its answer is there for who
// asks again when others have taken all of it.
func TestTheAnswerToADeliveredUploadNeedsNoQuota(t *testing.T) {
	r := newRig(t, rigOptions{Options: middleware.Options{QuotaPerOwner: 1000}})
	id := resume.NewID()
	p := r.full()
	p.Send(open(id, 900))
	next[*protocol.Ready](p)
	p.Data(content(1, 900))
	p.Send(&protocol.Finish{})
	next[*protocol.Done](p)
	other := r.full()
	other.Send(open(resume.NewID(), 1000))
	next[*protocol.Ready](other)
	for name, length := range map[string]*int64{"length known": open(id, 900).Length, "length unknown": nil} {
		t.Run(name, func(t *testing.T) {
			p := r.full()
			p.Send(&protocol.Open{ID: string(id), Length: length})
			if m, err := p.Recv(); err != nil {
				t.Fatal(err)
			} else if ready, ok := m.(*protocol.Ready); !ok || !ready.Complete {
				t.Fatalf("got %s, expected ready", protocol.Encode(m))
			}
			next[*protocol.Done](p)
		})
	}
}
