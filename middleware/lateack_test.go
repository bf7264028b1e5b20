package middleware_test

import (
	"context"
	"testing"
	"time"

	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/resume"
)

// neverDurable is a store that takes everything and syncs nothing.
type neverDurable struct{ resume.Store }

func (s neverDurable) Open(ctx context.Context, o resume.OpenOptions) (resume.Claim, error) {
	c, err := s.Store.Open(ctx, o)
	if err != nil {
		return nil, err
	}
	return notDurable{c}, nil
}

type notDurable struct{ resume.Claim }

func (notDurable) Durable() int64 { return 0 }

// A client that waits for credit for a message larger than a chunk hears soon
// of the last bytes it sent, though they are too few to make an ack due: not
// with the next heartbeat only.
func TestAClientThatIgnoresChunkIsNotLeftWaiting(t *testing.T) {
	r := newRig(t, rigOptions{wrap: func(next resume.Store) resume.Store { return neverDurable{next} }})
	p := r.full()
	p.Send(&protocol.Open{ID: string(resume.NewID())})
	next[*protocol.Ready](p)
	p.Data(content(1, 1000))
	began := time.Now()
	for next[*protocol.Ack](p).Received != 1000 {
	}
	if waited := time.Since(began); waited > 10*time.Second { // a heartbeat comes after 15 s
		t.Errorf("the client heard after %v that 1000 bytes were taken in", waited)
	}
}
