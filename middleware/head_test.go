package middleware_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wsingest/wsingest/middleware"
	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/resume"
)

// png is n bytes that begin as a PNG does.
func png(n int) []byte {
	return append([]byte("\x89PNG\x0d\x0a\x1a\x0a"), content(8, n-8)...)
}

var pictures = middleware.Options{AcceptTypes: []string{"image/*", "application/pdf"}}

// refusedHead reads the answer to a wrong file, and checks that nothing of it
// stays.
func refusedHead(t *testing.T, r *rig, p *peer, id resume.ID) *protocol.Error {
	t.Helper()
	e := next[*protocol.Error](p)
	if e.ID != string(id) || e.Code != protocol.Rejected || e.Resumable || !strings.Contains(e.Detail, "image/*, application/pdf") {
		t.Fatalf("told %+v, expected rejected, with what is accepted", e)
	}
	if _, err := r.store.Stat(t.Context(), id); !errors.Is(err, resume.ErrNotFound) {
		t.Errorf("the upload lingers: %v", err)
	}
	return e
}

// TestAWrongFileIsRefusedByItsHead: long before its end, with nothing else on
// the connection or beside it disturbed.
func TestAWrongFileIsRefusedByItsHead(t *testing.T) {
	r := newRig(t, rigOptions{Options: pictures})
	other := resume.NewID()
	bystander := newBystander(t, r, open(other, 4*bystanderStep))
	copy(bystander.data, png(8))
	id := resume.NewID()
	p := r.full()
	p.Send(open(id, 5<<30))
	next[*protocol.Ready](p)
	p.Data(content(1, 100<<10))
	refusedHead(t, r, p, id)
	bystander.goesOn()

	// The same connection carries another, and what was still under way for the
	// one before does not matter.
	p.Data(content(1, 10<<10))
	p.Send(&protocol.Check{})
	p.Send(&protocol.Finish{})
	id = resume.NewID()
	data := png(100 << 10)
	p.Send(open(id, int64(len(data))))
	next[*protocol.Ready](p)
	p.Data(data)
	p.Send(&protocol.Finish{})
	next[*protocol.Done](p)
	sameBytes(t, r.app.seen()[0].body, data)
	bystander.ends(r)
}

// TestSmallFilesAreJudgedWhole, however their end becomes known.
func TestSmallFilesAreJudgedWhole(t *testing.T) {
	for name, length := range map[string]bool{"length known": true, "length unknown": false} {
		for _, eager := range []bool{false, true} {
			r := newRig(t, rigOptions{Options: pictures})
			p := r.full()
			for _, data := range [][]byte{png(13), []byte("Hello, world!"), {}} {
				id := resume.NewID()
				o := &protocol.Open{ID: string(id), Eager: eager}
				if length {
					o.Length = num(int64(len(data)))
				}
				p.Send(o)
				if !eager {
					next[*protocol.Ready](p)
				}
				if len(data) > 0 {
					p.Data(data)
				}
				p.Send(&protocol.Finish{})
				if eager {
					next[*protocol.Ready](p)
				}
				if string(data) == string(png(13)) {
					next[*protocol.Done](p)
					continue
				}
				e := next[*protocol.Error](p)
				if e.Code != protocol.Rejected || !strings.Contains(e.Detail, "text/plain") {
					t.Errorf("%s: told %+v", name, e)
				}
				if st, err := r.store.Stat(t.Context(), id); err == nil && st.Phase != resume.Delivered {
					t.Errorf("%s: it lingers in phase %s", name, st.Phase)
				}
			}
			if n := len(r.app.seen()); n != 1 {
				t.Errorf("%s: the app got %d files", name, n)
			}
		}
	}
}

func TestAPlainClientHearsTheVerdict(t *testing.T) {
	r := newRig(t, rigOptions{Options: pictures})
	for _, query := range []string{"length=5000000", "length=13", "finish=close"} {
		p := r.dial(query)
		p.Data(content(1, 70<<10))
		next[*protocol.Ready](p)
		if query == "length=13" { // more than that is another mistake
			fails(p, protocol.InconsistentLength)
			continue
		}
		fails(p, protocol.Rejected)
	}
	p := r.dial("length=13")
	p.Data([]byte("Hello, world!"))
	next[*protocol.Ready](p)
	fails(p, protocol.Rejected)
	p = r.dial("length=13")
	p.Data(png(13))
	next[*protocol.Ready](p)
	next[*protocol.Done](p)
	if n := len(r.app.seen()); n != 1 {
		t.Errorf("the app got %d files", n)
	}
}

// TestAHeadThatComesInTwoPartsIsJudged: by a connection that brings the rest of
// it, by one that finds it there, and over a restart.
func TestAHeadThatComesInTwoPartsIsJudged(t *testing.T) {
	loose := newRig(t, rigOptions{})
	strict := newRig(t, rigOptions{store: loose.store, Options: pictures})
	for name, c := range map[string]struct {
		at    *rig
		first int
	}{
		"half of it is there": {strict, 10 << 10},
		"all of it is there":  {loose, 80 << 10}, // a rule that came later
	} {
		t.Run(name, func(t *testing.T) {
			id := resume.NewID()
			data := content(1, 200<<10)
			p := c.at.full()
			p.Send(open(id, int64(len(data))))
			next[*protocol.Ready](p)
			p.Data(data[:c.first])
			p.Acked(int64(c.first))
			p.WS.CloseNow()
			p = strict.full()
			p.Send(open(id, int64(len(data))))
			if m := next[*protocol.Ready](p); m.Cursor != int64(c.first) {
				t.Fatalf("it goes on at %d", m.Cursor)
			}
			if c.first < middleware.HeadSize {
				p.Data(data[c.first : c.first+60<<10])
			}
			refusedHead(t, strict, p, id)
		})
	}
}

// TestTheLaneWithTheFirstByteDecides: for all of them, and before anything is
// delivered, whoever comes first.
func TestTheLaneWithTheFirstByteDecides(t *testing.T) {
	r := newRig(t, rigOptions{Options: pictures})
	const length = 300 << 10
	lane := func(id resume.ID, start int64, end int64) *peer {
		p := r.full()
		o := open(id, length)
		o.Range = &protocol.Range{Start: start, End: &end}
		p.Send(o)
		next[*protocol.Ready](p)
		return p
	}
	for name, data := range map[string][]byte{"wrong": content(1, length), "right": png(length)} {
		t.Run(name, func(t *testing.T) {
			id := resume.NewID()
			first, second, third := lane(id, 0, 100<<10), lane(id, 100<<10, 200<<10), lane(id, 200<<10, length)
			second.Data(data[100<<10 : 200<<10])
			second.Acked(200 << 10) // nothing is decided by it
			second.Send(&protocol.Finish{})
			third.Data(data[200<<10 : 250<<10])
			first.Data(data[:100<<10])
			if name == "wrong" {
				for _, p := range []*peer{first, second, third} {
					refusedHead(t, r, p, id)
				}
				late := r.full()
				late.Send(open(id, length))
				refusedHead(t, r, late, id)
				return
			}
			first.Acked(100 << 10)
			third.Data(data[250<<10:])
			for _, p := range []*peer{first, second, third} {
				next[*protocol.Done](p)
			}
		})
	}
	if n := len(r.app.seen()); n != 1 {
		t.Errorf("the app got %d files", n)
	}
}

func TestTheHookSeesTheHead(t *testing.T) {
	var mu sync.Mutex
	var heads []*middleware.Head
	var sizes []int
	answer := error(nil)
	r := newRig(t, rigOptions{Options: middleware.Options{OnHead: func(_ context.Context, h *middleware.Head) error {
		mu.Lock()
		defer mu.Unlock()
		heads, sizes = append(heads, h), append(sizes, len(h.Bytes))
		return answer
	}}})
	send := func(data []byte) *peer {
		p := r.full()
		p.Send(open(resume.NewID(), int64(len(data))))
		next[*protocol.Ready](p)
		p.Data(data)
		p.Send(&protocol.Finish{})
		return p
	}
	next[*protocol.Done](send(content(1, 100<<10)))
	next[*protocol.Done](send(content(1, 100)))
	if len(sizes) != 2 || sizes[0] != middleware.HeadSize || sizes[1] != 100 || heads[1].State.Name != "a.bin" || heads[1].Request == nil {
		t.Fatalf("it saw %d bytes, of %+v", sizes, heads)
	}
	answer = &middleware.Refusal{Code: protocol.QuotaExceeded, Detail: "You have sent enough of these files."}
	if e := fails(send(content(1, 100)), protocol.QuotaExceeded); e.Resumable {
		t.Error("a refusal without a time to come back is one that may pass")
	}
	answer = errors.New("")
	if e := next[*protocol.Error](send(content(1, 100))); e.Code != protocol.Rejected || len(e.Detail) < 20 {
		t.Errorf("told %+v", e)
	}
	answer = &middleware.Refusal{Code: protocol.Overloaded, Detail: "The scanner for viruses has its hands full.", RetryAfter: time.Second}
	e := fails(send(content(1, 100)), protocol.Overloaded)
	if st, err := r.store.Stat(t.Context(), resume.ID(e.ID)); err != nil || st.Received.Size() != 100 {
		t.Errorf("the upload did not stay: %+v, %v", st, err)
	}
	answer = nil
	p := r.full()
	p.Send(open(resume.ID(e.ID), 100))
	next[*protocol.Ready](p)
	p.Send(&protocol.Finish{})
	next[*protocol.Done](p)
}

// TestAHookThatPanicsOverAHeadCostsOneConnection, and the upload stays.
func TestAHookThatPanicsOverAHeadCostsOneConnection(t *testing.T) {
	r := newRig(t, rigOptions{Options: middleware.Options{OnHead: func(_ context.Context, h *middleware.Head) error {
		if strings.HasPrefix(string(h.Bytes), "panic") {
			panic("no such format")
		}
		return nil
	}}})
	bystander := newBystander(t, r, open(resume.NewID(), 3*bystanderStep))
	bystander.goesOn()
	id := resume.NewID()
	p := r.full()
	p.Send(open(id, 5))
	next[*protocol.Ready](p)
	p.Data([]byte("panic"))
	fails(p, protocol.Internal)
	if _, err := r.store.Stat(t.Context(), id); err != nil {
		t.Errorf("the upload did not stay: %v", err)
	}
	bystander.ends(r)
}

// TestAStoreThatCannotReadBackIsJudgedInTheEnd, and nothing is delivered before.
func TestAStoreThatCannotReadBackIsJudgedInTheEnd(t *testing.T) {
	gate := make(chan struct{})
	close(gate)
	r := newRig(t, rigOptions{Options: pictures, wrap: func(s resume.Store) resume.Store { return &gateStore{Store: s, gate: gate} }})
	p := r.full()
	for _, data := range [][]byte{content(1, 100<<10), png(100 << 10)} {
		id := resume.NewID()
		p.Send(open(id, int64(len(data))))
		next[*protocol.Ready](p)
		p.Data(data)
		p.Send(&protocol.Finish{})
		if data[0] == 0x89 {
			next[*protocol.Done](p)
			continue
		}
		if e := next[*protocol.Error](p); e.Code != protocol.Rejected {
			t.Errorf("told %+v", e)
		}
		p.Send(open(id, int64(len(data)))) // the answer stays what it is
		if m := next[*protocol.Ready](p); !m.Complete {
			t.Error("it begins anew")
		}
		if e := next[*protocol.Error](p); e.Code != protocol.Rejected {
			t.Errorf("then told %+v", e)
		}
	}
	if n := len(r.app.seen()); n != 1 {
		t.Errorf("the app got %d files", n)
	}
}

func TestTypesAreToldByTheBytes(t *testing.T) {
	for _, c := range []struct {
		accept string
		data   string
		want   bool
	}{
		{"image/*", "\x89PNG\x0d\x0a\x1a\x0a", true},
		{"image/png", "\x89PNG\x0d\x0a\x1a\x0a", true},
		{"IMAGE/PNG", "\x89PNG\x0d\x0a\x1a\x0a", true},
		{"image/gif", "\x89PNG\x0d\x0a\x1a\x0a", false},
		{"application/pdf", "%PDF-1.7", true},
		{"application/*", "%PDF-1.7", true},
		{"text/plain", "Hello, world!", true}, // which net/http gives a charset
		{"text/plain", "<!DOCTYPE HTML><script>", false},
		{"image/*", "<svg>", false},
		{"application/octet-stream", "\x00\x01\x02", true},
	} {
		r := newRig(t, rigOptions{Options: middleware.Options{AcceptTypes: []string{c.accept}}})
		p := r.full()
		o := open(resume.NewID(), int64(len(c.data)))
		o.Type = "image/png" // counts for nothing
		p.Send(o)
		next[*protocol.Ready](p)
		p.Data([]byte(c.data))
		p.Send(&protocol.Finish{})
		m, err := p.Recv()
		for ack := true; ack && err == nil; {
			if _, ack = m.(*protocol.Ack); ack {
				m, err = p.Recv()
			}
		}
		if _, taken := m.(*protocol.Done); taken != c.want {
			t.Errorf("%s, %q: told %T, %v", c.accept, c.data, m, err)
		}
	}
	if _, err := middleware.New(newRig(t, rigOptions{}).store, middleware.Options{AcceptTypes: []string{"image"}}); err == nil || !strings.Contains(err.Error(), "AcceptTypes") {
		t.Errorf("nonsense: %v", err)
	}
}

// TestWhatIsRefusedByItsHeadGivesItsQuotaBack.
func TestWhatIsRefusedByItsHeadGivesItsQuotaBack(t *testing.T) {
	o := pictures
	o.QuotaPerOwner = 1 << 20
	o.Owner = func(*http.Request) string { return "ada" }
	r := newRig(t, rigOptions{Options: o})
	p := r.full()
	for range 3 {
		id := resume.NewID()
		p.Send(open(id, 1<<20))
		next[*protocol.Ready](p)
		p.Data(content(1, 70<<10))
		refusedHead(t, r, p, id)
	}
}
