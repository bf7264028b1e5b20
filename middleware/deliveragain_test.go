package middleware_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/wsingest/wsingest/middleware"
	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/resume"
)

func TestARejectionOfTheAppReachesTheClient(t *testing.T) {
	r := newRig(t, rigOptions{})
	r.app.answer = func(w http.ResponseWriter, _ *http.Request, _ []byte) {
		http.Error(w, "not a picture", http.StatusUnprocessableEntity)
	}
	p := r.full()
	id := resume.NewID()
	for range 2 { // the answer is final, and the same when asked again
		o := open(id, 1000)
		o.Eager = true
		p.Send(o)
		p.Data(content(1, 1000))
		p.Send(&protocol.Finish{})
		next[*protocol.Ready](p)
		e := next[*protocol.Error](p)
		if e.Code != protocol.Rejected || e.Resumable || e.Response.Status != 422 || e.Response.Body != "not a picture\n" {
			t.Errorf("got %s", protocol.Encode(e))
		}
	}
	if n := len(r.app.seen()); n != 1 {
		t.Errorf("the app was called %d times, expected once", n)
	}
}

func TestAnAppThatIsBusyIsAskedAgain(t *testing.T) {
	r := newRig(t, rigOptions{})
	data := content(11, 50_000)
	calls := 0
	r.app.answer = func(w http.ResponseWriter, _ *http.Request, _ []byte) {
		switch calls++; calls {
		case 1:
			w.WriteHeader(http.StatusServiceUnavailable)
		case 2:
			panic("the app has a fault")
		default:
			w.WriteHeader(http.StatusNoContent)
		}
	}
	p := r.full()
	p.Send(open(resume.NewID(), int64(len(data))))
	p.Stream(next[*protocol.Ready](p), data, 50_000)
	p.Send(&protocol.Finish{})
	if done := next[*protocol.Done](p); done.Response.Status != http.StatusNoContent {
		t.Errorf("done carries %d", done.Response.Status)
	}
	seen := r.app.seen()
	if len(seen) != 3 {
		t.Fatalf("the app was called %d times, expected 3", len(seen))
	}
	for _, got := range seen {
		sameBytes(t, got.body, data)
		if got.header.Get("Idempotency-Key") != seen[0].header.Get("Idempotency-Key") {
			t.Error("the attempts do not carry the same Idempotency-Key")
		}
	}
}

func TestAnUploadOutlivesAnAppThatIsDown(t *testing.T) {
	r := newRig(t, rigOptions{Options: middleware.Options{DeliverFor: 300 * time.Millisecond}})
	data := content(12, 50_000)
	r.app.answer = func(w http.ResponseWriter, _ *http.Request, _ []byte) { w.WriteHeader(http.StatusBadGateway) }
	id := resume.NewID()
	p := r.full()
	p.Send(open(id, int64(len(data))))
	p.Stream(next[*protocol.Ready](p), data, 50_000)
	p.Send(&protocol.Finish{})
	if e := fails(p, protocol.Overloaded); !e.Resumable || e.RetryAfterMS == 0 {
		t.Errorf("got %s, expected advice when to come back", protocol.Encode(e))
	}
	r.app.mu.Lock()
	r.app.answer = nil
	r.app.mu.Unlock()
	p = r.full()
	p.Send(open(id, int64(len(data))))
	if !next[*protocol.Ready](p).Complete {
		t.Error("the upload was not kept complete")
	}
	next[*protocol.Done](p)
	seen := r.app.seen()
	sameBytes(t, seen[len(seen)-1].body, data)
}

// beingDelivered uploads three bytes, over which the app takes its time until end
// is closed.
func (r *rig) beingDelivered() (id resume.ID, end chan struct{}) {
	begun := make(chan struct{})
	id, end = resume.NewID(), make(chan struct{})
	r.app.answer = func(http.ResponseWriter, *http.Request, []byte) { close(begun); <-end }
	p := r.full()
	p.Send(open(id, 3))
	p.Data([]byte("abc"))
	p.Send(&protocol.Finish{})
	<-begun
	return id, end
}

// A client may ask for an answer as often as it likes: what it asks for while
// the app takes its time does not pile up.
func TestAskingForAnAnswerAgainAndAgainIsBounded(t *testing.T) {
	r := newRig(t, rigOptions{})
	id, end := r.beingDelivered()
	again := r.full()
	const times = 300
	for range times {
		again.Send(open(id, 3))
	}
	next[*protocol.Ready](again)
	for range 63 { // what is worked on side by side
		next[*protocol.Ready](again)
	}
	finishing := 0
	for _, c := range r.ingest.Connections() {
		finishing = max(finishing, len(c.Finishing))
	}
	close(end)
	if finishing > 64 {
		t.Errorf("%d answers are waited for on one connection", finishing)
	}
	for done := 0; done < times; {
		m, err := again.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := m.(*protocol.Done); ok {
			done++
		}
	}
}

// A client that comes and goes while the app takes its time leaves nothing
// behind that waits: connections are counted, and it may come often.
func TestWhoHasGoneWaitsForNoAnswer(t *testing.T) {
	r := newRig(t, rigOptions{})
	id, end := r.beingDelivered()
	defer close(end)
	for range 5 {
		again := r.full()
		again.Send(open(id, 3))
		next[*protocol.Ready](again)
		again.WS.CloseNow()
	}
	for until := time.Now().Add(10 * time.Second); len(r.ingest.Connections()) > 1; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("%d connections are there, expected the one that delivers", len(r.ingest.Connections()))
		}
	}
}
