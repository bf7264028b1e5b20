package middleware_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/wsingest/wsingest/middleware"
	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/middleware/protocol/protocoltest"
	"github.com/wsingest/wsingest/resume"
	"github.com/wsingest/wsingest/resume/client"
	"github.com/wsingest/wsingest/resume/filestore"
)

// long has tests use the sizes and times that the promises speak of; else they
// are scaled down.
var long = os.Getenv("WSINGEST_LONG") != ""

const mib = 1 << 20

// A limit of 20 MiB/s holds, for one connection and for fifty, full ones and
// plain ones. That it is reached, and that nobody is starved, is asked of an
// idle machine alone: in the long form.
func TestTheBandwidthLimitHolds(t *testing.T) {
	cases := []struct{ full, plain int }{{1, 0}, {0, 1}, {25, 25}}
	if long {
		cases = append(cases, struct{ full, plain int }{50, 0}, struct{ full, plain int }{0, 50})
	}
	for _, tc := range cases {
		t.Run(fmt.Sprintf("%d full and %d plain", tc.full, tc.plain), func(t *testing.T) {
			rate, span := int64(10*mib), 1500*time.Millisecond
			if long {
				rate, span = 20*mib, 10*time.Second
			}
			// The disk is kept out of it: it syncs when all is over.
			store, err := filestore.New(t.TempDir(), filestore.Options{SyncBytes: 1 << 30, SyncInterval: time.Minute})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { store.Close() })
			r := newRig(t, rigOptions{store: store, Options: middleware.Options{Bandwidth: middleware.Bandwidth{Total: rate}}})
			stop := r.saturate("", tc.full, tc.plain)
			waitFor(t, func() bool { return len(r.brought()) == tc.full+tc.plain })

			before, began := r.brought(), time.Now()
			time.Sleep(span)
			after, took := r.brought(), time.Since(began)
			stop()

			var all int64
			least := int64(1 << 62)
			for remote, n := range after {
				all += n - before[remote]
				least = min(least, n-before[remote])
			}
			is := float64(all) / took.Seconds() / float64(rate)
			fair := float64(least) * float64(len(after)) / float64(all)
			t.Logf("%.2f MiB/s in %v: %.1f %% of the limit; the least of %d has %.2f of its part",
				float64(all)/mib/took.Seconds(), took.Round(time.Millisecond), is*100, len(after), fair)
			switch {
			case long && (is < 0.97 || is > 1.03):
				t.Errorf("the limit is kept within %.1f %%, expected 3", (is-1)*100)
			case long && fair < 2./3:
				t.Errorf("one connection has %.2f of its part, expected two thirds", fair)
			case is > 1.35: // with what was saved up
				t.Errorf("%.0f %% of the limit came in", is*100)
			}
		})
	}
}

// saturate has clients send all they may, until stop is called.
func (r *rig) saturate(query string, full, plain int) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for i := range full + plain {
		all.Go(func() {
			send, o := sendByWindow, &websocket.DialOptions{Subprotocols: []string{protocol.Subprotocol}}
			if i >= full {
				send, o = sendPlainly, nil
			}
			if ws, _, err := websocket.Dial(ctx, r.url+query, o); err == nil {
				defer ws.CloseNow()
				send(ctx, ws)
			}
		})
	}
	stop = func() { cancel(); all.Wait() }
	r.t.Cleanup(stop)
	return stop
}

func sendPlainly(ctx context.Context, ws *websocket.Conn) {
	for p := make([]byte, 64<<10); ws.Write(ctx, websocket.MessageBinary, p) == nil; {
	}
}

// sendByWindow opens an upload, and sends whenever there is credit.
func sendByWindow(ctx context.Context, ws *websocket.Conn) {
	if ws.Write(ctx, websocket.MessageText, protocol.Encode(&protocol.Open{ID: string(resume.NewID())})) != nil {
		return
	}
	var sent, edge, chunk int64
	for p := make([]byte, mib); ; {
		for sent < edge {
			n := min(chunk, edge-sent)
			if ws.Write(ctx, websocket.MessageBinary, p[:n]) != nil {
				return
			}
			sent += n
		}
		_, b, err := ws.Read(ctx)
		if err != nil {
			return
		}
		switch m, _ := protocol.DecodeServer(b); m := m.(type) {
		case *protocol.Ready:
			edge, chunk = m.Cursor+m.Window, m.Chunk
		case *protocol.Ack:
			edge, chunk = max(edge, m.Received+m.Window), m.Chunk
		}
	}
}

// brought returns how many bytes each connection has brought, by its address.
func (r *rig) brought() map[string]int64 {
	by := map[string]int64{}
	for _, c := range r.ingest.Connections() {
		if c.Bytes > 0 {
			by[c.Remote] = c.Bytes
		}
	}
	return by
}

// Nothing is thrown away for a limit, and nobody is cut off over it: every
// client comes to its end, with every byte.
func TestUploadsUnderALimitArriveWhole(t *testing.T) {
	r := newRig(t, rigOptions{Options: middleware.Options{
		Bandwidth: middleware.Bandwidth{PerConnection: 2 * mib, PerOwner: 3 * mib, Total: 4 * mib},
		Owner:     func(r *http.Request) string { return r.URL.Query().Get("user") },
	}})
	data := content(3, mib+4711)
	var all sync.WaitGroup
	for i, user := range []string{"alice", "alice", "bob"} {
		all.Go(func() {
			if _, err := client.Upload(deadline(t), r.url+"?user="+user, client.FromReaderAt(bytes.NewReader(data), int64(len(data))), client.Options{Lanes: i}); err != nil {
				t.Errorf("full: %v", err)
			}
		})
	}
	p := r.dial(fmt.Sprintf("user=bob&length=%d&digest=sha-256:%s", len(data), hexOf(sum(data))))
	for off := 0; off < len(data); off += 64 << 10 {
		p.Data(data[off:min(off+64<<10, len(data))])
	}
	next[*protocol.Ready](p)
	next[*protocol.Done](p)
	all.Wait()
	for _, got := range r.app.seen() {
		sameBytes(t, got.body, data)
	}
}

// A client that may begin unasked pays for that with what comes next, and where
// it leaves at once, others do.
func TestWhatAnEagerClientSendsCounts(t *testing.T) {
	for name, leaves := range map[string]bool{"stays": false, "leaves": true} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, rigOptions{Options: middleware.Options{Bandwidth: middleware.Bandwidth{Total: 128 << 10}}})
			p, began := r.full(), time.Now()
			o := open(resume.NewID(), 200<<10)
			o.Eager = true
			if !leaves {
				o.Length = nil
			}
			p.Send(o)
			p.Data(content(1, 200<<10))
			sent, ready := int64(200<<10), next[*protocol.Ready](p)
			if leaves {
				p.Send(&protocol.Finish{})
				next[*protocol.Done](p)
				p.WS.Close(websocket.StatusNormalClosure, "")
				waitFor(t, func() bool { return len(r.ingest.Connections()) == 0 })
				p, sent = r.full(), 0
				p.Send(&protocol.Open{ID: string(resume.NewID())})
				ready = next[*protocol.Ready](p)
			}
			for edge := ready.Window; edge <= sent; {
				a := next[*protocol.Ack](p)
				edge = a.Received + a.Window
			}
			if took := time.Since(began); took < 1200*time.Millisecond {
				t.Errorf("more was granted %v after 200 KiB came unasked at 128 KiB a second", took)
			}
		})
	}
}

// A plain client that is slowed down hears the pongs to its pings, which stand
// behind its data, well before it would give up.
func TestPingsOfAPlainClientAreAnsweredUnderALimit(t *testing.T) {
	r := newRig(t, rigOptions{Options: middleware.Options{Bandwidth: middleware.Bandwidth{PerConnection: mib}}})
	ws, _, err := websocket.Dial(deadline(t), r.url+"?length=2097152", nil)
	if err != nil {
		t.Fatal(err)
	}
	p := protocoltest.New(t, ws)
	answered, done := make(chan error, 1), make(chan websocket.StatusCode, 1)
	go func() {
		for {
			if _, _, err := ws.Read(deadline(t)); err != nil { // pongs are heard while it reads
				done <- websocket.CloseStatus(err)
				return
			}
		}
	}()
	for i := range 32 {
		if i == 8 {
			go func() { answered <- ws.Ping(deadline(t)) }()
		}
		p.Data(content(1, 64<<10))
	}
	if err := <-answered; err != nil {
		t.Errorf("the ping: %v", err)
	}
	if code := <-done; code != websocket.StatusNormalClosure {
		t.Errorf("closed with %d, expected done and 1000", code)
	}
}

// Small files follow each other on one connection without waiting for answers,
// also where the credit for them comes slowly: no file is the one after which
// there is none.
func TestManyFilesOnOneConnectionKeepToALimit(t *testing.T) {
	r := newRig(t, rigOptions{Options: middleware.Options{Bandwidth: middleware.Bandwidth{PerConnection: mib}}})
	c, err := client.New(r.url, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	began := time.Now()
	const files, size = 40, 50 << 10
	var all sync.WaitGroup
	for i := range files {
		all.Go(func() {
			data := content(uint64(i), size)
			if _, err := c.Upload(deadline(t), client.FromReaderAt(bytes.NewReader(data), size)); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if took := time.Since(began); took < 1500*time.Millisecond { // what may be sent unasked is paid for
		t.Errorf("%d KiB came in %v, at 1 MiB a second", files*size>>10, took)
	}
	if n := len(r.app.seen()); n != files {
		t.Errorf("%d files arrived, expected %d", n, files)
	}
}
