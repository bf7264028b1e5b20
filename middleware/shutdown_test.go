package middleware_test

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/resume"
)

// Rule 12: at a shutdown what was received is safe, full clients are told, and
// the sockets close with 1012.
func TestShutdownDrains(t *testing.T) {
	r := newRig(t, rigOptions{})
	data := content(32, 500_000)
	id := resume.NewID()
	p, plain := r.full(), r.dial("")
	ready(plain)
	p.Send(open(id, int64(len(data))))
	p.Stream(next[*protocol.Ready](p), data[:200_000], 50_000)
	for next[*protocol.Ack](p).Received < 200_000 {
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := r.ingest.Shutdown(deadline(t)); err != nil {
			t.Error(err)
		}
	})
	bye := next[*protocol.Goaway](p)
	if bye.Offset != 200_000 || bye.RetryAfterMS == 0 {
		t.Errorf("got %s, expected everything received to be durable", protocol.Encode(bye))
	}
	if code := p.Closed(); code != websocket.StatusServiceRestart {
		t.Errorf("closed with %d, expected 1012", code)
	}
	if code := plain.Closed(); code != websocket.StatusServiceRestart {
		t.Errorf("the plain client was closed with %d, expected 1012", code)
	}
	wg.Wait()
	resp := r.upgrade("/upload/", nil)
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Errorf("an upgrade while draining is answered %d", resp.StatusCode)
	}
	st, err := r.store.Stat(t.Context(), id)
	if err != nil || st.Durable.EndFrom(0) != 200_000 {
		t.Errorf("%v bytes are durable (%v)", st.Durable, err)
	}
}

func TestShutdownThatIsCutShortSaysSo(t *testing.T) {
	gate := make(chan struct{})
	r := newRig(t, rigOptions{wrap: func(s resume.Store) resume.Store { return &gateStore{s, gate} }})
	p := r.full()
	p.Send(open(resume.NewID(), 1000))
	next[*protocol.Ready](p)
	p.Data(make([]byte, 1000))
	if err := p.WS.Ping(pinging(p)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if err := r.ingest.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Shutdown returned %v, expected the context's error", err)
	}
	close(gate)
}
