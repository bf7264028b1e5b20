package middleware_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

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
