package middleware_test

import (
	"net/http"
	"slices"
	"testing"

	"github.com/wsingest/wsingest/middleware"
	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/resume"
)

func TestConnectionsShowsWhatIsUnderWay(t *testing.T) {
	r := newRig(t, rigOptions{})
	if got := r.ingest.Connections(); len(got) != 0 {
		t.Fatalf("nobody is connected, but %d connections are listed", len(got))
	}
	id := resume.NewID()
	p := r.full()
	p.Send(open(id, 1000))
	next[*protocol.Ready](p)
	p.Data(content(1, 600))
	p.Acked(600)
	list := r.ingest.Connections()
	if len(list) != 1 {
		t.Fatalf("%d connections are listed, expected 1", len(list))
	}
	c := list[0]
	if c.Upload != id || c.Received != 600 || c.Durable != 600 || c.Bytes != 600 || c.Plain || c.Remote == "" || c.Age <= 0 {
		t.Errorf("the connection shows as %+v, expected 600 bytes of %s", c, id)
	}

	seen := make(chan []resume.ID, 1)
	r.app.answer = func(w http.ResponseWriter, _ *http.Request, _ []byte) {
		seen <- r.ingest.Connections()[0].Finishing
	}
	p.Data(content(2, 400))
	p.Send(&protocol.Finish{})
	next[*protocol.Done](p)
	if got := <-seen; !slices.Equal(got, []resume.ID{id}) {
		t.Errorf("during the delivery %v is listed as finishing, expected %s", got, id)
	}
}

// What a client was promised room for counts as given out, until it has gone.
func TestMemoryIsToldOf(t *testing.T) {
	r := newRig(t, rigOptions{Options: middleware.Options{Memory: 8 << 20}})
	if given, all := r.ingest.Memory(); given != 0 || all != 8<<20 {
		t.Errorf("%d of %d bytes are given out, with nobody there", given, all)
	}
	p := r.full()
	p.Send(open(resume.NewID(), 1<<20))
	ready := next[*protocol.Ready](p)
	if given, _ := r.ingest.Memory(); given < ready.Window || given > 8<<20 {
		t.Errorf("%d bytes are given out for a window of %d", given, ready.Window)
	}
	p.WS.CloseNow()
	waitFor(t, func() bool { given, _ := r.ingest.Memory(); return given == 0 })
}
