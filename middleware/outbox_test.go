package middleware_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/wsingest/wsingest/middleware"
	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/middleware/protocol/protocoltest"
	"github.com/wsingest/wsingest/resume"
)

// leave has an app that is down be asked for a complete upload, and ends the
// engine, with nobody told more than that it is complete.
func leave(t *testing.T, o rigOptions, query string, header http.Header) (id resume.ID, store resume.Store) {
	t.Helper()
	o.DeliverFor = time.Millisecond
	r := newRig(t, o)
	r.app.answer = func(w http.ResponseWriter, _ *http.Request, _ []byte) { w.WriteHeader(http.StatusServiceUnavailable) }
	ws, _, err := websocket.Dial(deadline(t), r.url+"a.bin?"+query, &websocket.DialOptions{Subprotocols: []string{protocol.Subprotocol}, HTTPHeader: header})
	if err != nil {
		t.Fatal(err)
	}
	p := protocoltest.New(t, ws)
	id = resume.NewID()
	p.Send(open(id, 4))
	next[*protocol.Ready](p)
	p.Data([]byte("data"))
	p.Send(&protocol.Finish{})
	fails(p, protocol.Overloaded)
	if err := r.ingest.Shutdown(deadline(t)); err != nil {
		t.Fatal(err)
	}
	return id, r.store
}

// comeBack opens the upload again and returns the server's last word.
func (r *rig) comeBack(id resume.ID) protocol.Message {
	r.t.Helper()
	p := r.full()
	p.Send(open(id, 4))
	if ready := next[*protocol.Ready](p); !ready.Complete {
		r.t.Fatalf("the upload is not complete for who comes back")
	}
	for {
		m, err := p.Recv()
		if err != nil {
			r.t.Fatal(err)
		}
		if _, heartbeat := m.(*protocol.Ack); !heartbeat {
			return m
		}
	}
}

func TestACompleteUploadIsDeliveredAfterARestartWithoutItsClient(t *testing.T) {
	header := http.Header{"Authorization": {"Basic c2VjcmV0"}, "Cookie": {"session=secret"}, "X-Tenant": {"7"}, "User-Agent": {"test/1"}}
	keep := middleware.Options{KeepHeaders: []string{"X-Tenant"}, KeepQuery: []string{"album"}}
	id, store := leave(t, rigOptions{Options: keep}, "album=3&token=secret&ticket=secret&name=b.bin", header)

	st, err := store.Stat(deadline(t), id)
	if err != nil || st.Phase != resume.Complete {
		t.Fatalf("the upload is %s (%v), expected complete", st.Phase, err)
	}
	for _, secret := range []string{"c2VjcmV0", "secret"} {
		if strings.Contains(string(st.Origin), secret) {
			t.Errorf("a credential is on the disk: %s", st.Origin)
		}
	}
	r := newRig(t, rigOptions{store: store, Options: keep})
	waitFor(t, func() bool { return len(r.app.seen()) == 1 })
	seen := r.app.seen()[0]
	sameBytes(t, seen.body, []byte("data"))
	if seen.method != "POST" || seen.url != "/upload/a.bin?album=3&name=b.bin" || seen.header.Get("Idempotency-Key") != `"`+string(id)+`"` {
		t.Errorf("the app got %s %s with the key %s", seen.method, seen.url, seen.header.Get("Idempotency-Key"))
	}
	for name, want := range map[string]string{"X-Tenant": "7", "User-Agent": "test/1", "Authorization": "", "Cookie": "", "Connection": "", "Upgrade": ""} {
		if got := seen.header.Get(name); got != want {
			t.Errorf("the app got %s: %q, expected %q", name, got, want)
		}
	}
	if m, ok := r.comeBack(id).(*protocol.Done); !ok || m.Response.Status != http.StatusCreated {
		t.Errorf("the client heard %s", protocol.Encode(m))
	}
	waitFor(t, func() bool { return len(r.ingest.Undelivered()) == 0 })
	if n := len(r.app.seen()); n != 1 {
		t.Errorf("the app was asked %d times, expected once", n)
	}
}

// A published file needs nobody to come back either.
func TestACompleteUploadIsPublishedAfterARestart(t *testing.T) {
	id, store := leave(t, rigOptions{}, "", nil)
	dir := t.TempDir()
	r := newRig(t, rigOptions{store: store, Options: middleware.Options{Publish: &middleware.Publish{Dir: dir}}})
	waitFor(t, func() bool {
		st, err := store.Stat(deadline(t), id)
		return err == nil && st.Phase == resume.Delivered
	})
	if m, ok := r.comeBack(id).(*protocol.Done); !ok || m.Location != "a.bin" {
		t.Errorf("the client heard %s", protocol.Encode(m))
	}
}

// What is replayed carries less than the client's request: that it is refused
// says nothing about the upload.
func TestARefusalWithoutTheClientIsNotTheEndOfTheUpload(t *testing.T) {
	id, store := leave(t, rigOptions{}, "", nil)
	r := newRig(t, rigOptions{store: store, Options: middleware.Options{Replay: &middleware.Replay{To: func(req *http.Request, deliver func(*http.Request, http.Handler)) bool {
		deliver(req, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusUnauthorized)
		}))
		return true
	}}}})
	waitFor(t, func() bool {
		list := r.ingest.Undelivered()
		return len(list) == 1 && list[0].Dead && list[0].ID == id && list[0].Attempts == 1 && strings.Contains(list[0].Problem, "401")
	})
	if err := r.ingest.Redeliver(resume.NewID()); !errors.Is(err, resume.ErrNotFound) {
		t.Errorf("Redeliver of what is not there: %v", err)
	}
	if err := r.ingest.Redeliver(id); err != nil {
		t.Error(err)
	}
	waitFor(t, func() bool {
		list := r.ingest.Undelivered()
		return len(list) == 1 && list[0].Dead && list[0].Attempts == 2
	})
	if m, ok := r.comeBack(id).(*protocol.Done); !ok || m.Response.Status != http.StatusCreated {
		t.Errorf("the client heard %s", protocol.Encode(m))
	}
	if list := r.ingest.Undelivered(); len(list) != 0 {
		t.Errorf("delivered, and still listed: %+v", list)
	}
}

func TestADeadLetterIsDeliveredWhenSomebodySaysSo(t *testing.T) {
	id, store := leave(t, rigOptions{}, "", nil)
	r := newRig(t, rigOptions{store: store, Options: middleware.Options{RedeliverFor: 1}})
	waitFor(t, func() bool {
		list := r.ingest.Undelivered()
		return len(list) == 1 && list[0].Dead
	})
	if n := len(r.app.seen()); n != 0 {
		t.Fatalf("the app was asked %d times for what was given up", n)
	}
	if err := r.ingest.Redeliver(id); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return len(r.ingest.Undelivered()) == 0 })
	if n := len(r.app.seen()); n != 1 {
		t.Errorf("the app was asked %d times, expected once", n)
	}
}

// Two engines on one store, as of two routes: an upload goes to where it came.
func TestAnUploadIsRedeliveredOnItsOwnRouteAlone(t *testing.T) {
	id, store := leave(t, rigOptions{}, "", nil)
	shared := new(middleware.Deliveries)
	other := newRig(t, rigOptions{store: store, Options: middleware.Options{Deliveries: shared, Routes: []string{"/elsewhere/"}}})
	waitFor(t, func() bool { return len(other.ingest.Undelivered()) == 0 })
	mine := newRig(t, rigOptions{store: store, Options: middleware.Options{Deliveries: shared, Routes: []string{"/upload/"}}})
	waitFor(t, func() bool {
		st, err := store.Stat(deadline(t), id)
		return err == nil && st.Phase == resume.Delivered
	})
	if a, b := len(mine.app.seen()), len(other.app.seen()); a != 1 || b != 0 {
		t.Errorf("the app of the route was asked %d times, another %d times", a, b)
	}
}

// The app that took the upload is not asked again because a webhook fails, also
// when the client has gone and the engine goes on alone.
func TestTheAppIsAskedOnceWhateverComesBehindIt(t *testing.T) {
	var confirmed atomic.Int32
	r := newRig(t, rigOptions{Options: middleware.Options{DeliverFor: time.Millisecond, Confirm: func(context.Context, middleware.Taken) error {
		if confirmed.Add(1) < 4 {
			return errors.New("not now")
		}
		return nil
	}}})
	if e, ok := r.put("a.bin", []byte("data")).(*protocol.Error); !ok || e.Code != protocol.Overloaded {
		t.Fatalf("the client heard %s", protocol.Encode(e))
	}
	waitFor(t, func() bool { return confirmed.Load() == 4 && len(r.ingest.Undelivered()) == 0 })
	if n := len(r.app.seen()); n != 1 {
		t.Errorf("the app was asked %d times, expected once", n)
	}
}
