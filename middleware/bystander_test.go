package middleware_test

import (
	"testing"

	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/resume"
)

// bystander is an upload that runs while others are refused. Each time one was,
// it has to get further, on the same connection.
type bystander struct {
	p    *peer
	id   resume.ID
	data []byte
	sent int
	told int64 // to be received
}

const (
	bystanderStep = 64 << 10
	bystanderLag  = 2 * bystanderStep // there is an ack for so much, at once
)

func newBystander(t *testing.T, r *rig, open *protocol.Open) *bystander {
	t.Helper()
	b := &bystander{p: r.full(), id: resume.ID(open.ID), data: content(3, int(*open.Length))}
	b.p.Send(open)
	if m := next[*protocol.Ready](b.p); m.Cursor != 0 {
		t.Fatalf("it begins at %d", m.Cursor)
	}
	return b
}

func (b *bystander) goesOn() {
	b.p.T.Helper()
	b.p.Data(b.data[b.sent : b.sent+bystanderStep])
	b.sent += bystanderStep
	for b.told < int64(b.sent)-bystanderLag {
		m, err := b.p.Recv()
		if err != nil {
			b.p.T.Fatalf("its connection ended: %v", err)
		}
		ack, ok := m.(*protocol.Ack)
		if !ok {
			b.p.T.Fatalf("it was told %T %+v", m, m)
		}
		b.told = ack.Received
	}
}

// ends sends what is left, and compares it with what was delivered.
func (b *bystander) ends(r *rig) {
	b.p.T.Helper()
	for len(b.data)-b.sent >= bystanderStep {
		b.goesOn()
	}
	b.p.Data(b.data[b.sent:])
	b.p.Send(&protocol.Finish{})
	if m := next[*protocol.Done](b.p); m.ID != string(b.id) {
		b.p.T.Errorf("done is about %s", m.ID)
	}
	seen := r.app.seen()
	sameBytes(b.p.T, seen[len(seen)-1].body, b.data)
}
