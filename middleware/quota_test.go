package middleware_test

import (
	"net/http"
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
	fails(p, protocol.MaxSizeExceeded)

	// What is delivered makes room: the answer is in the store, the bytes are not.
	alice = as("alice")
	begin(alice, first, 600)
	alice.Data(content(1, 600))
	alice.Send(&protocol.Finish{})
	next[*protocol.Done](alice)
	for until := time.Now().Add(10 * time.Second); time.Now().Before(until); time.Sleep(50 * time.Millisecond) {
		p := as("alice") // the store is looked through once a second at most
		p.Send(open(resume.NewID(), 600))
		m, err := p.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := m.(*protocol.Ready); ok {
			return
		}
	}
	t.Error("an upload that was delivered still counts")
}
