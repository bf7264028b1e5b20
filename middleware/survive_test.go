package middleware_test

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/wsingest/wsingest/middleware"
	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/resume"
)

func TestAPanicInAHookEndsOneConnectionAndLosesNothing(t *testing.T) {
	for name, hook := range map[string]func(o *middleware.Options, fault func()){
		"OnOpen": func(o *middleware.Options, fault func()) {
			o.OnOpen = func(context.Context, *middleware.Opening) error { fault(); return nil }
		},
		"OnComplete": func(o *middleware.Options, fault func()) {
			o.OnComplete = func(context.Context, resume.State) { fault() }
		},
		"Confirm": func(o *middleware.Options, fault func()) {
			o.Confirm = func(context.Context, middleware.Taken) error { fault(); return nil }
		},
		"Observer, while the upload is opened": func(o *middleware.Options, fault func()) {
			o.Observer = func(e middleware.Event) {
				if e.Kind == middleware.Opened {
					fault()
				}
			}
		},
		"Observer, when the upload is complete": func(o *middleware.Options, fault func()) {
			o.Observer = func(e middleware.Event) {
				if e.Kind == middleware.Completed {
					fault()
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			var panics atomic.Int64
			panics.Store(1)
			o := middleware.Options{Logger: zap.NewNop()}
			hook(&o, func() {
				if panics.Add(-1) == 0 {
					panic("a fault of the app")
				}
			})
			r := newRig(t, rigOptions{Options: o})
			bystander, other := r.full(), resume.NewID()
			id, data := resume.NewID(), content(7, 1000)
			first := r.full()
			first.Send(open(id, int64(len(data))))
			first.Data(data)
			first.Send(&protocol.Finish{})
			for {
				m, err := first.Recv()
				if err != nil {
					t.Fatalf("the client was told nothing: %v", err)
				}
				if e, ok := m.(*protocol.Error); ok {
					if e.Code != protocol.Internal || !e.Resumable || e.ID != string(id) {
						t.Errorf("the client heard %+v", e)
					}
					break
				}
			}
			bystander.Send(open(other, 3))
			next[*protocol.Ready](bystander)

			again := r.full()
			again.Send(open(id, int64(len(data))))
			if ready := next[*protocol.Ready](again); !ready.Complete {
				again.Data(data[ready.Received:])
				again.Send(&protocol.Finish{})
			}
			next[*protocol.Done](again)
			if seen := r.app.seen(); len(seen) == 0 {
				t.Error("the app never got the upload")
			} else {
				sameBytes(t, seen[0].body, data)
			}
		})
	}
}

func TestARefusalWithoutWordsHasSome(t *testing.T) {
	r := newRig(t, rigOptions{Options: middleware.Options{
		OnOpen: func(context.Context, *middleware.Opening) error { return errors.New("") },
	}})
	p := r.full()
	p.Send(open(resume.NewID(), 1))
	fails(p, protocol.Forbidden)
}

// The timers of a connection have goroutines of their own as well.
func TestAPanicOverADeadConnectionEndsThatAlone(t *testing.T) {
	middleware.AllowFastKeepalive()
	for name, idle := range map[string]bool{"silent": false, "idle": true} {
		t.Run(name, func(t *testing.T) {
			var panics atomic.Int64
			r := newRig(t, rigOptions{Options: middleware.Options{
				Logger:    zap.NewNop(),
				Keepalive: middleware.Keepalive{Interval: 50 * time.Millisecond, Timeout: 150 * time.Millisecond},
				Observer: func(e middleware.Event) {
					if e.Kind == middleware.Died || e.Kind == middleware.Failed {
						panics.Add(1)
						panic("a fault of the app")
					}
				},
			}})
			p := r.full()
			if !idle { // it answers no pings, since it does not read
				p.Send(open(resume.NewID(), 3))
				for until := time.Now().Add(10 * time.Second); panics.Load() == 0 && time.Now().Before(until); {
					time.Sleep(5 * time.Millisecond)
				}
			}
			for {
				if _, err := p.Recv(); err != nil {
					break
				}
			}
			if panics.Load() == 0 {
				t.Error("the hook was not called")
			}
		})
	}
}

// Who shuts an engine down closes the store behind it: nothing may run then.
func TestAPanicOfTheLastHookLeavesNoDeliveryBehind(t *testing.T) {
	begun, end := make(chan struct{}), make(chan struct{})
	r := newRig(t, rigOptions{Options: middleware.Options{
		Logger: zap.NewNop(),
		Observer: func(e middleware.Event) {
			if e.Kind == middleware.Disconnected {
				panic("a fault of the app")
			}
		},
	}})
	r.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	r.app.answer = func(w http.ResponseWriter, _ *http.Request, _ []byte) { close(begun); <-end }
	p := r.full()
	p.Send(open(resume.NewID(), 3))
	p.Data([]byte("abc"))
	p.Send(&protocol.Finish{})
	<-begun
	p.WS.CloseNow()
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	if r.ingest.Shutdown(ctx) == nil {
		t.Error("Shutdown returned without an error while the app had the file")
	}
	close(end)
}
