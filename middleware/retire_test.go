package middleware_test

import (
	"context"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/coder/websocket"

	"github.com/wsingest/wsingest/middleware"
	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/resume"
)

func TestARetiredEngineSendsFullClientsOnAndSeesPlainOnesThrough(t *testing.T) {
	r := newRig(t, rigOptions{})
	data := content(1, 1000)
	id := resume.NewID()
	full := r.full()
	full.Send(open(id, 1000))
	next[*protocol.Ready](full)
	full.Data(data[:600])
	full.Acked(600)
	plain := r.dial("length=1000&name=p.bin")
	next[*protocol.Ready](plain)
	plain.Data(data[:600])

	retired := make(chan error, 1)
	go func() { retired <- r.ingest.Retire(context.Background()) }()

	if bye := next[*protocol.Goaway](full); bye.Offset != 600 {
		t.Errorf("goaway says offset %d, expected 600", bye.Offset)
	}
	if status := full.Closed(); status != websocket.StatusServiceRestart {
		t.Errorf("the full client was closed with %d, expected 1012", status)
	}
	if _, resp, err := websocket.Dial(deadline(t), r.url, nil); err == nil || resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a retired engine took a new connection (%v)", err)
	}
	plain.Data(data[600:])
	if done := next[*protocol.Done](plain); done.Length != 1000 {
		t.Errorf("the plain upload has %d bytes, expected 1000", done.Length)
	}
	plain.Closed()
	if err := <-retired; err != nil {
		t.Errorf("Retire: %v", err)
	}
}

// A plain client never comes back to the successor: the retired engine goes on
// trying until the app takes the file.
func TestARetiredEngineTriesAgainForPlainClients(t *testing.T) {
	r := newRig(t, rigOptions{})
	var calls atomic.Int32
	r.app.answer = func(w http.ResponseWriter, _ *http.Request, _ []byte) {
		if calls.Add(1) < 3 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}
	p := r.dial("length=4")
	next[*protocol.Ready](p)
	retired := make(chan error, 1)
	go func() { retired <- r.ingest.Retire(context.Background()) }()
	waitFor(t, func() bool { // it has taken effect
		_, resp, err := websocket.Dial(deadline(t), r.url, nil)
		return err != nil && resp != nil && resp.StatusCode == http.StatusServiceUnavailable
	})
	p.Data([]byte("data"))
	if done := next[*protocol.Done](p); done.Length != 4 || calls.Load() != 3 {
		t.Errorf("%d bytes were delivered after %d calls, expected 4 after 3", done.Length, calls.Load())
	}
	p.Closed()
	if err := <-retired; err != nil {
		t.Errorf("Retire: %v", err)
	}
}

func TestEnginesOnOneStoreDeliverOnce(t *testing.T) {
	shared := new(middleware.Deliveries)
	old := newRig(t, rigOptions{Options: middleware.Options{Deliveries: shared}})
	successor := newRig(t, rigOptions{Options: middleware.Options{Deliveries: shared}, store: old.store})
	var calls atomic.Int32
	hold, asked := make(chan struct{}), make(chan struct{}, 2)
	answer := func(w http.ResponseWriter, _ *http.Request, _ []byte) {
		calls.Add(1)
		asked <- struct{}{}
		<-hold
	}
	old.app.answer, successor.app.answer = answer, answer

	id := resume.NewID()
	first := old.full()
	first.Send(open(id, 4))
	next[*protocol.Ready](first)
	first.Data([]byte("data"))
	first.Send(&protocol.Finish{})
	<-asked
	second := successor.full()
	second.Send(open(id, 4))
	if ready := next[*protocol.Ready](second); !ready.Complete {
		t.Errorf("the upload is not complete for who comes back")
	}
	close(hold)
	next[*protocol.Done](first)
	next[*protocol.Done](second)
	if n := calls.Load(); n != 1 {
		t.Errorf("the app was asked %d times, expected once", n)
	}
}
