package middleware_test

import (
	"net/http"
	"strconv"
	"testing"

	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/resume"
)

func TestAnAppThatKnowsNothingGetsTheWholeFileOnce(t *testing.T) {
	r := newRig(t, rigOptions{})
	data := content(1, 3<<20+17)
	p := r.full()
	o := open(resume.NewID(), int64(len(data)))
	o.WantDigest = protocol.SHA256
	p.Send(o)
	p.Stream(next[*protocol.Ready](p), data, 256<<10)
	p.Send(&protocol.Finish{Digest: &protocol.Digest{SHA256: sum(data)}})
	done := next[*protocol.Done](p)

	if done.Response.Status != http.StatusCreated || done.Response.Headers["Location"][0] != "/files/1" || done.Response.Body != "took 3145745 bytes" {
		t.Errorf("done carries %+v, expected the app's answer", done.Response)
	}
	sameBytes(t, done.Digest.SHA256, sum(data))
	seen := r.app.seen()
	if len(seen) != 1 {
		t.Fatalf("the app was called %d times, expected once", len(seen))
	}
	got := seen[0]
	sameBytes(t, got.body, data)
	if got.method != "POST" || got.url != "/upload/" || got.length != int64(len(data)) {
		t.Errorf("the app saw %s %s with %d bytes", got.method, got.url, got.length)
	}
	want := map[string]string{
		"Content-Length":      strconv.Itoa(len(data)),
		"Content-Type":        "application/x-test",
		"Content-Disposition": "attachment; filename=a.bin",
		"Idempotency-Key":     strconv.Quote(done.ID),
		"Upgrade":             "", "Connection": "", "Sec-Websocket-Key": "", "Sec-Websocket-Protocol": "",
	}
	for k, v := range want {
		if got.header.Get(k) != v {
			t.Errorf("header %s is %q, expected %q", k, got.header.Get(k), v)
		}
	}
}

func TestDoneIsTheSameHoweverOftenItIsAskedFor(t *testing.T) {
	r := newRig(t, rigOptions{})
	data := content(2, 100_000)
	id := resume.NewID()
	var first string
	for i := range 3 {
		p := r.full()
		p.Send(open(id, int64(len(data))))
		ready := next[*protocol.Ready](p)
		if i == 0 {
			p.Stream(ready, data, 64<<10)
			p.Send(&protocol.Finish{})
		} else if !ready.Complete {
			t.Fatal("ready does not say that the upload is complete")
		}
		done := string(protocol.Encode(next[*protocol.Done](p)))
		if first == "" {
			first = done
		}
		if done != first {
			t.Errorf("done is %s, was %s", done, first)
		}
	}
	if n := len(r.app.seen()); n != 1 {
		t.Errorf("the app was called %d times, expected once", n)
	}
}

func TestASmallFileNeedsOneRoundTrip(t *testing.T) {
	r := newRig(t, rigOptions{})
	data := content(3, 10_000)
	p := r.full()
	o := open(resume.NewID(), int64(len(data)))
	o.Eager = true
	p.Send(o)
	p.Data(data)
	p.Send(&protocol.Finish{})
	next[*protocol.Ready](p)
	next[*protocol.Done](p)
	sameBytes(t, r.app.seen()[0].body, data)
}

func TestAnEagerClientMayRepeatWhatIsHeld(t *testing.T) {
	r := newRig(t, rigOptions{})
	data := content(4, 200_000)
	id := resume.NewID()
	p := r.full()
	p.Send(open(id, int64(len(data))))
	p.Stream(next[*protocol.Ready](p), data[:150_000], 50_000)
	p.Acked(150_000)
	p.WS.CloseNow()

	p = r.full()
	o := open(id, int64(len(data)))
	o.Eager = true
	p.Send(o)
	p.Data(data[:120_000])
	p.Data(data[120_000:])
	p.Send(&protocol.Finish{Digest: &protocol.Digest{SHA256: sum(data)}})
	next[*protocol.Ready](p)
	next[*protocol.Done](p)
	sameBytes(t, r.app.seen()[0].body, data)

	// And once more, although it is complete: the answer to a lost answer.
	p = r.full()
	p.Send(o)
	p.Data(data)
	p.Send(&protocol.Finish{})
	if !next[*protocol.Ready](p).Complete {
		t.Error("ready does not say complete")
	}
	next[*protocol.Done](p)
}

// TestALaneSendsPieceAfterPiece: it need not wait for one to be opened, nor for
// what came before to be taken in, and sends again what another had sent.
func TestALaneSendsPieceAfterPiece(t *testing.T) {
	r := newRig(t, rigOptions{})
	data := content(5, 200_000)
	id := resume.NewID()
	piece := func(start, end int64) *protocol.Open {
		o := open(id, int64(len(data)))
		o.Range, o.Eager = &protocol.Range{Start: start, End: &end}, true
		return o
	}
	p := r.full()
	p.Send(piece(80_000, 100_000))
	p.Data(data[80_000:100_000])
	next[*protocol.Ready](p)
	p.Acked(100_000)

	for _, at := range []int64{120_000, 40_000, 0} { // with the first, all of it within the first window
		end := at + 80_000
		p.Send(piece(at, end))
		p.Data(data[at:end])
	}
	p.Send(&protocol.Finish{Digest: &protocol.Digest{SHA256: sum(data)}})
	for _, at := range []int64{120_000, 40_000, 0} {
		if m := next[*protocol.Ready](p); m.Cursor != at {
			t.Errorf("ready says cursor %d of the piece from %d", m.Cursor, at)
		}
	}
	next[*protocol.Done](p)
	sameBytes(t, r.app.seen()[0].body, data)
}

func TestUnknownLengthEndsWithFinish(t *testing.T) {
	r := newRig(t, rigOptions{})
	data := content(8, 700_001)
	p := r.full()
	p.Send(&protocol.Open{ID: string(resume.NewID())})
	ready := next[*protocol.Ready](p)
	if ready.Length != nil || len(ready.Missing) != 1 || ready.Missing[0].End != nil {
		t.Errorf("ready says %s, expected no length and an open end", protocol.Encode(ready))
	}
	p.Stream(ready, data, 100_000)
	p.Send(&protocol.Finish{Digest: &protocol.Digest{SHA256: sum(data)}})
	if done := next[*protocol.Done](p); done.Length != int64(len(data)) {
		t.Errorf("done says %d bytes", done.Length)
	}
}

func TestAnEmptyFileIsAFile(t *testing.T) {
	r := newRig(t, rigOptions{})
	p := r.full()
	p.Send(open(resume.NewID(), 0))
	next[*protocol.Ready](p)
	p.Send(&protocol.Finish{})
	next[*protocol.Done](p)
	next[*protocol.Done](ready(r.dial("length=0")))
	for _, got := range r.app.seen() {
		if got.length != 0 || len(got.body) != 0 {
			t.Errorf("the app got %d bytes", len(got.body))
		}
	}
	if n := len(r.app.seen()); n != 2 {
		t.Errorf("the app was called %d times, expected twice", n)
	}
}

func ready(p *peer) *peer {
	next[*protocol.Ready](p)
	return p
}

func TestManySmallFilesOnOneConnection(t *testing.T) {
	r := newRig(t, rigOptions{})
	const files = 200 // all together within the initial window: no need to wait for acks
	p := r.full()
	want := map[string][]byte{}
	go func() {
		for i := range files {
			data := content(uint64(i), 1024)
			o := open(resume.ID("small-file-number-"+strconv.Itoa(10_000+i)), 1024)
			o.Eager = true
			p.Send(o)
			p.Data(data)
			p.Send(&protocol.Finish{})
		}
	}()
	for i := range files {
		want["small-file-number-"+strconv.Itoa(10_000+i)] = content(uint64(i), 1024)
	}
	for done := 0; done < files; {
		m, err := p.Recv()
		if err != nil {
			t.Fatal(err)
		}
		switch m := m.(type) {
		case *protocol.Done:
			done++
		case *protocol.Error:
			t.Fatal(m)
		}
	}
	seen := r.app.seen()
	if len(seen) != files {
		t.Fatalf("the app was called %d times, expected %d", len(seen), files)
	}
	for _, got := range seen {
		id, _ := strconv.Unquote(got.header.Get("Idempotency-Key"))
		sameBytes(t, got.body, want[id])
	}
}

func TestLanesFillOneFileSideBySide(t *testing.T) {
	r := newRig(t, rigOptions{})
	data := content(9, 4<<20)
	id := resume.NewID()
	const lanes = 4
	peers := make([]*peer, lanes)
	size := int64(len(data) / lanes)
	for i := range peers {
		peers[i] = r.full()
		o := open(id, int64(len(data)))
		start, end := int64(i)*size, int64(i+1)*size
		o.Range = &protocol.Range{Start: start, End: &end}
		peers[i].Send(o)
		ready := next[*protocol.Ready](peers[i])
		if ready.Cursor != start {
			t.Fatalf("lane %d begins at %d, expected %d", i, ready.Cursor, start)
		}
		peers[i].Stream(ready, data[start:end], 128<<10)
	}
	peers[2].Send(&protocol.Finish{Digest: &protocol.Digest{SHA256: sum(data)}})
	for i, p := range peers {
		if done := next[*protocol.Done](p); done.Length != int64(len(data)) {
			t.Errorf("lane %d was told of %d bytes", i, done.Length)
		}
	}
	if n := len(r.app.seen()); n != 1 {
		t.Fatalf("the app was called %d times, expected once", n)
	}
	sameBytes(t, r.app.seen()[0].body, data)
}

func TestACheckThatFailsGoesBackToTheLastThatHeld(t *testing.T) {
	r := newRig(t, rigOptions{})
	data := content(10, 300_000)
	id := resume.NewID()
	p := r.full()
	p.Send(open(id, int64(len(data))))
	next[*protocol.Ready](p)
	p.Data(data[:100_000])
	p.Send(&protocol.Check{Offset: 100_000, CRC32C: protocol.CRC32C(resume.UpdateCRC32C(0, data[:100_000]))})
	damaged := append([]byte(nil), data[100_000:200_000]...)
	damaged[77] ^= 1
	p.Data(damaged)
	p.Send(&protocol.Check{Offset: 200_000, CRC32C: protocol.CRC32C(resume.UpdateCRC32C(0, data[:200_000]))})
	e := fails(p, protocol.DigestMismatch)
	if e.Offset == nil || *e.Offset != 100_000 || !e.Resumable {
		t.Fatalf("the error is %s, expected it to say 100000, resumable", protocol.Encode(e))
	}
	p = r.full()
	p.Send(open(id, int64(len(data))))
	ready := next[*protocol.Ready](p)
	if ready.Cursor != 100_000 {
		t.Fatalf("resumes at %d, expected 100000", ready.Cursor)
	}
	p.Stream(ready, data[100_000:], 64<<10)
	p.Send(&protocol.Finish{Digest: &protocol.Digest{SHA256: sum(data)}})
	next[*protocol.Done](p)
}

func TestCancelDeletes(t *testing.T) {
	r := newRig(t, rigOptions{})
	id := resume.NewID()
	p := r.full()
	p.Send(open(id, 100))
	next[*protocol.Ready](p)
	p.Data(content(1, 50))
	p.Send(&protocol.Cancel{})
	if done := next[*protocol.Done](p); !done.Cancelled || done.ID != string(id) {
		t.Errorf("got %s", protocol.Encode(done))
	}
	p.Send(&protocol.Open{ID: string(id), Resume: true})
	fails(p, protocol.NotFound)
}
