package middleware_test

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wsingest/wsingest/middleware"
	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/resume"
)

// byQuery has tests say in the URL who and where they are.
func byQuery(o middleware.Options) middleware.Options {
	o.Owner = func(r *http.Request) string { return r.URL.Query().Get("user") }
	o.Address = func(r *http.Request) string { return r.URL.Query().Get("from") }
	return o
}

func TestConnectionsAreBoundedForEachOwnerAndAddress(t *testing.T) {
	for name, tc := range map[string]struct {
		o              middleware.Options
		a, same, other string
	}{
		"owner":        {middleware.Options{MaxConnectionsPerOwner: 2}, "user=alice&from=1.2.3.4", "user=alice&from=4.3.2.1", "user=bob&from=1.2.3.4"},
		"address":      {middleware.Options{MaxConnectionsPerAddress: 2}, "user=alice&from=1.2.3.4", "user=bob&from=1.2.3.4", "user=alice&from=1.2.3.5"},
		"IPv6":         {middleware.Options{MaxConnectionsPerAddress: 2}, "from=2001:db8:1:2::1", "from=2001:db8:1:2:ffff::2", "from=2001:db8:1:3::1"},
		"IPv4 in IPv6": {middleware.Options{MaxConnectionsPerAddress: 2}, "from=1.2.3.4", "from=::ffff:1.2.3.4", "from=::ffff:1.2.3.5"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, rigOptions{Options: byQuery(tc.o)})
			ready(r.dial(tc.a))
			leaves := r.dial(tc.same)
			ready(leaves)
			for _, query := range []string{tc.a, tc.same} {
				if resp := r.upgrade("/upload/?"+query, nil); resp.StatusCode != 429 || resp.Header.Get("Retry-After") != "5" {
					t.Errorf("%s: answered %d, Retry-After %q", query, resp.StatusCode, resp.Header.Get("Retry-After"))
				}
			}
			ready(r.dial(tc.other))
			leaves.WS.CloseNow()
			waitFor(t, func() bool { return r.upgrade("/upload/?"+tc.a, nil).StatusCode == 101 })
		})
	}
}

func TestUploadsAreBoundedForEachOwner(t *testing.T) {
	r := newRig(t, rigOptions{Options: byQuery(middleware.Options{MaxUploadsPerOwner: 2})})
	begin := func(user string, id resume.ID) *peer {
		p := r.dial("user="+user, protocol.Subprotocol)
		p.Send(&protocol.Open{ID: string(id)})
		return p
	}
	first, second := resume.NewID(), resume.NewID()
	next[*protocol.Ready](begin("alice", first))
	p := begin("alice", second)
	next[*protocol.Ready](p)
	fails(begin("alice", resume.NewID()), protocol.QuotaExceeded)
	next[*protocol.Ready](begin("bob", resume.NewID()))
	next[*protocol.Ready](begin("alice", first)) // to resume is none more

	p.Data([]byte("that was all"))
	p.Send(&protocol.Finish{})
	next[*protocol.Done](p)
	waitFor(t, func() bool { // the store is looked through once a second at most
		m, err := begin("alice", resume.NewID()).Recv()
		_, ok := m.(*protocol.Ready)
		return err == nil && ok
	})
}

// The answer to an id that is not there is the same as to a foreign one, also
// where there is no quota left.
func TestAQuotaTellsNothingOfForeignUploads(t *testing.T) {
	r := newRig(t, rigOptions{Options: byQuery(middleware.Options{QuotaPerOwner: 1000, MaxUploadsPerOwner: 1})})
	hers := resume.NewID()
	alice := r.dial("user=alice", protocol.Subprotocol)
	alice.Send(open(hers, 10))
	next[*protocol.Ready](alice)
	bob := r.dial("user=bob", protocol.Subprotocol)
	bob.Send(open(resume.NewID(), 1000)) // all he may
	next[*protocol.Ready](bob)

	var answers []string
	for _, id := range []resume.ID{hers, resume.NewID()} {
		p := r.dial("user=bob", protocol.Subprotocol)
		o := open(id, 1000)
		o.Resume = true
		p.Send(o)
		e := fails(p, protocol.NotFound)
		e.ID = ""
		answers = append(answers, string(protocol.Encode(e)))
	}
	if answers[0] != answers[1] {
		t.Errorf("the answers can be told apart: %q", answers)
	}
}

// An upload that could not be created takes nothing.
func TestWhatCannotBeCreatedTakesNoQuota(t *testing.T) {
	full := &fullStore{}
	r := newRig(t, rigOptions{
		Options: middleware.Options{QuotaPerOwner: 1000, MaxUploadsPerOwner: 1},
		wrap:    func(s resume.Store) resume.Store { full.Store = s; return full },
	})
	p := r.full()
	p.Send(open(resume.NewID(), 900))
	fails(p, protocol.InsufficientSpace)
	full.room.Store(true)
	p = r.full()
	p.Send(open(resume.NewID(), 900))
	next[*protocol.Ready](p)
}

// fullStore is a store that creates nothing while it has no room.
type fullStore struct {
	resume.Store
	room atomic.Bool
}

func (s *fullStore) Open(ctx context.Context, o resume.OpenOptions) (resume.Claim, error) {
	if !s.room.Load() {
		return nil, resume.ErrNoSpace
	}
	return s.Store.Open(ctx, o)
}

// The room an upload has in its owner's quota is what others leave of it now,
// not what they left when it was opened.
func TestAGrowingUploadMayUseWhatOthersGiveBack(t *testing.T) {
	r := newRig(t, rigOptions{Options: middleware.Options{QuotaPerOwner: 1000}})
	other := r.full()
	other.Send(open(resume.NewID(), 600))
	next[*protocol.Ready](other)
	p := r.full()
	p.Send(&protocol.Open{ID: string(resume.NewID())})
	if most := next[*protocol.Ready](p).Limits.MaxSize; most != 400 {
		t.Errorf("ready says %d bytes, expected the 400 that are left", most)
	}
	p.Data(content(1, 400))
	p.Acked(400)
	other.Send(&protocol.Cancel{})
	next[*protocol.Done](other)
	p.Data(content(1, 600))
	p.Acked(1000)
	p.Data([]byte{1})
	fails(p, protocol.QuotaExceeded)
}

// What counts is the bytes that came, not how far into the file they lie, and
// each of them once.
func TestAQuotaCountsTheBytesOfLanes(t *testing.T) {
	r := newRig(t, rigOptions{Options: middleware.Options{QuotaPerOwner: 1000}})
	id := resume.NewID()
	lane := func(start int64) *peer {
		p, end := r.full(), start+1_000_000
		p.Send(&protocol.Open{ID: string(id), Range: &protocol.Range{Start: start, End: &end}})
		next[*protocol.Ready](p)
		return p
	}
	far := lane(5_000_000)
	far.Data(content(1, 600))
	far.Acked(5_000_600)
	near := lane(0)
	near.Data(content(1, 300))
	near.Acked(300)

	again := r.full()
	again.Send(&protocol.Open{ID: string(id), Eager: true})
	again.Data(content(1, 300)) // is there already
	next[*protocol.Ready](again)
	again.Acked(300)
	again.Data(content(1, 100))
	again.Acked(400)
	again.Data([]byte{1})
	fails(again, protocol.QuotaExceeded)
}

// An upload that gets a byte now and then is never abandoned, so that it does
// not expire; but its time is over at last.
func TestAnUploadHasToBeFinishedInItsLifetime(t *testing.T) {
	rhythm := fast()
	for _, mode := range []string{"full", "plain"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel() // it is a matter of waiting
			r := newRig(t, rigOptions{Options: middleware.Options{MaxLifetime: 2 * time.Second, Keepalive: rhythm}})
			id := resume.NewID()
			var p *peer
			if mode == "full" {
				p = r.full()
				p.Send(&protocol.Open{ID: string(id)})
			} else {
				p = r.dial("id=" + string(id))
			}
			if l := next[*protocol.Ready](p).Limits.MaxLifetime; l != 1 && l != 2 {
				t.Errorf("ready says %d s, expected 2 at most", l)
			}
			defer time.AfterFunc(20*time.Second, func() { p.WS.CloseNow() }).Stop()
			stop := make(chan struct{})
			defer close(stop)
			go func() {
				for p.WS.Write(deadline(t), 2, []byte{1}) == nil {
					select {
					case <-time.After(50 * time.Millisecond):
					case <-stop:
						return
					}
				}
			}()
			fails(p, protocol.NotFound)
			if _, err := r.store.Stat(t.Context(), id); !errors.Is(err, resume.ErrNotFound) {
				t.Errorf("the upload is still there: %v", err)
			}
		})
	}
}

func TestAnUploadPastItsLifetimeIsNotTakenUpAgain(t *testing.T) {
	o := middleware.Options{MaxLifetime: time.Second}
	r := newRig(t, rigOptions{Options: o})
	id := resume.NewID()
	p := r.full()
	p.Send(open(id, 10))
	next[*protocol.Ready](p)
	p.WS.CloseNow()
	waitFor(t, func() bool {
		p := r.full()
		p.Send(&protocol.Open{ID: string(id), Resume: true})
		m, err := p.Recv()
		e, ok := m.(*protocol.Error)
		return err == nil && ok && e.Code == protocol.NotFound
	})
}
