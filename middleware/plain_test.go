package middleware_test

import (
	"testing"

	"github.com/coder/websocket"

	"github.com/wsingest/wsingest/middleware"
	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/resume"
)

func TestAPlainLoopOfSendsIsAnUpload(t *testing.T) {
	r := newRig(t, rigOptions{})
	data := content(5, 1_000_003)
	p := r.dial("name=loop.bin&type=text/x&length=1000003&digest=sha-256:" + hexOf(sum(data)))
	for off := 0; off < len(data); off += 65_536 {
		p.Data(data[off:min(off+65_536, len(data))])
	}
	ready, _ := p.Recv()
	if _, ok := ready.(*protocol.Ready); !ok {
		t.Fatalf("got %v, expected ready", ready)
	}
	// Two messages and no more: a client that never calls recv has a short queue.
	done, _ := p.Recv()
	if d, ok := done.(*protocol.Done); !ok || d.Length != int64(len(data)) {
		t.Fatalf("got %s, expected done and nothing in between", protocol.Encode(done))
	}
	if status := p.Closed(); status != websocket.StatusNormalClosure {
		t.Errorf("closed with %d, expected 1000", status)
	}
	got := r.app.seen()[0]
	sameBytes(t, got.body, data)
	if cd := got.header.Get("Content-Disposition"); cd != "attachment; filename=loop.bin" {
		t.Errorf("Content-Disposition is %q", cd)
	}
}

func TestPlainWaysToFinish(t *testing.T) {
	for name, tc := range map[string]struct {
		query  string
		end    func(p *peer)
		finish bool
	}{
		"finish message":             {"", func(p *peer) { p.Text(`{"type":"finish"}`) }, true},
		"close 1000 when asked":      {"finish=close", func(p *peer) { p.WS.Close(1000, "") }, true},
		"close 1000 keeps otherwise": {"", func(p *peer) { p.WS.Close(1000, "") }, false},
		"a cut keeps always":         {"finish=close", func(p *peer) { p.WS.CloseNow() }, false},
		"close 1001 keeps always":    {"finish=close", func(p *peer) { p.WS.Close(1001, "") }, false},
	} {
		t.Run(name, func(t *testing.T) {
			gone := make(chan struct{})
			r := newRig(t, rigOptions{Options: middleware.Options{Observer: func(e middleware.Event) {
				if e.Kind == middleware.Disconnected {
					close(gone)
				}
			}}})
			data := content(6, 300_000)
			id := resume.NewID()
			p := r.dial("id=" + string(id) + "&" + tc.query)
			p.Data(data)
			next[*protocol.Ready](p)
			tc.end(p)
			if tc.finish && tc.query == "" {
				next[*protocol.Done](p)
				p.Closed()
			}
			<-gone
			if tc.finish {
				waitFor(t, func() bool { return len(r.app.seen()) == 1 })
			}
			if seen := r.app.seen(); tc.finish != (len(seen) == 1) {
				t.Fatalf("the app was called %d times", len(seen))
			}
			st, err := r.store.Stat(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			if !tc.finish && (st.Phase != resume.Receiving || st.Received.EndFrom(0) != int64(len(data))) {
				t.Errorf("the upload is %s with %v received, expected it to wait for resume", st.Phase, st.Received)
			}
		})
	}
}

func TestAPlainClientSaysWhereItBegins(t *testing.T) {
	r := newRig(t, rigOptions{})
	data := content(7, 90_000)
	id := resume.NewID()
	q := "length=90000&id=" + string(id)
	p := r.dial(q)
	p.Data(data[:30_000])
	next[*protocol.Ready](p)
	p.WS.Close(1000, "")

	p = r.dial(q) // blind: would put its first byte anywhere
	e := fails(p, protocol.MismatchingOffset)
	if e.Offset == nil || *e.Offset != 30_000 {
		t.Fatalf("the error does not say where to go on: %s", protocol.Encode(e))
	}
	fails(r.dial(q+"&offset=30001"), protocol.MismatchingOffset)

	p = r.dial(q + "&offset=10000") // overlaps: what is held stays
	p.Data(data[10_000:50_000])
	next[*protocol.Ready](p)
	p.WS.Close(1000, "")

	p = r.dial(q + "&offset=resume")
	ready := next[*protocol.Ready](p)
	p.Data(data[ready.Cursor:])
	next[*protocol.Done](p)
	sameBytes(t, r.app.seen()[0].body, data)
}
