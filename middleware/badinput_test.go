package middleware_test

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/wsingest/wsingest/middleware"
	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/resume"
)

// Every row sends something wrong on a connection whose upload holds 50,000
// bytes. Each gets its own clear error, and leaves those bytes intact.
func TestBadInputGetsAClearErrorAndLosesNothing(t *testing.T) {
	data := content(20, 100_000)
	for name, tc := range map[string]struct {
		send   func(p *peer)
		code   protocol.Code
		detail string // a part of it
	}{
		"garbage for JSON":      {func(p *peer) { p.Text("finish please") }, protocol.BadMessage, "not a JSON object"},
		"no type":               {func(p *peer) { p.Text(`{"id":"x"}`) }, protocol.BadMessage, "no type"},
		"unknown type":          {func(p *peer) { p.Text(`{"type":"begin"}`) }, protocol.BadMessage, `"begin" is unknown, expected open, check, finish or cancel`},
		"a huge text message":   {func(p *peer) { p.Text(`{"type":"` + strings.Repeat("x", 100_000) + `"}`) }, protocol.BadMessage, "larger than 65536 bytes"},
		"metadata of 60 KB":     {func(p *peer) { p.Send(&protocol.Open{Metadata: map[string]string{"k": strings.Repeat("v", 60_000)}}) }, protocol.BadMessage, "metadata of 60001 bytes"},
		"a name of 2000":        {func(p *peer) { p.Send(&protocol.Open{Name: strings.Repeat("n", 2000)}) }, protocol.BadMessage, "name of 2000 bytes"},
		"a type with a newline": {func(p *peer) { p.Send(&protocol.Open{Type: "text/x\r\nX-Evil: 1"}) }, protocol.BadMessage, "printable ASCII"},
		"a short id":            {func(p *peer) { p.Send(&protocol.Open{ID: "short"}) }, protocol.BadID, "5 characters, expected 22 to 64"},
		"an id that climbs":     {func(p *peer) { p.Send(&protocol.Open{ID: "../../../../etc/passwd-and-more"}) }, protocol.BadID, `character '.' at position 0`},
		"an id nobody has":      {func(p *peer) { p.Send(&protocol.Open{ID: string(resume.NewID()), Resume: true}) }, protocol.NotFound, "no such upload"},
		"a negative length":     {func(p *peer) { p.Text(`{"type":"open","length":-5}`) }, protocol.BadMessage, "length -5"},
		"a length too large":    {func(p *peer) { p.Send(open(resume.NewID(), 2<<30)) }, protocol.MaxSizeExceeded, "at most 1073741824 bytes"},
		"a range beyond the end": {func(p *peer) {
			o, end := open(resume.NewID(), 10), int64(11)
			o.Range = &protocol.Range{End: &end}
			p.Send(o)
		}, protocol.BadMessage, "beyond the length 10"},
		"data beyond the length": {func(p *peer) { p.Data(append(data[50_000:len(data):len(data)], 1, 2, 3)) }, protocol.InconsistentLength, "length"},
		"a check of elsewhere":   {func(p *peer) { p.Send(&protocol.Check{Offset: 7}) }, protocol.MismatchingOffset, "stands at 50000"},
		"finish too early":       {func(p *peer) { p.Send(&protocol.Finish{}) }, protocol.MismatchingOffset, "[50000,100000)"},
		"finish with another length": {func(p *peer) {
			n := int64(50_000)
			p.Send(&protocol.Finish{Length: &n})
		}, protocol.InconsistentLength, "length"},
		"another length at resume": {nil, protocol.InconsistentLength, "length"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, rigOptions{Options: middleware.Options{MaxSize: 1 << 30}})
			id := resume.NewID()
			p := r.full()
			p.Send(open(id, int64(len(data))))
			p.Stream(next[*protocol.Ready](p), data[:50_000], 50_000)
			p.Acked(50_000)
			if tc.send == nil {
				p.Send(open(id, 99_999))
			} else {
				tc.send(p)
			}
			if e := fails(p, tc.code); !strings.Contains(e.Detail, tc.detail) {
				t.Errorf("the detail is %q, expected it to say %q", e.Detail, tc.detail)
			}
			r.finishFrom(id, data, 50_000)
		})
	}
}

// finishFrom resumes the upload, checks that it lost nothing below off, and
// finishes it.
func (r *rig) finishFrom(id resume.ID, data []byte, off int64) {
	r.t.Helper()
	p := r.full()
	p.Send(open(id, int64(len(data))))
	ready := next[*protocol.Ready](p)
	if ready.Cursor < off {
		r.t.Fatalf("the upload goes on at %d, expected %d", ready.Cursor, off)
	}
	p.Stream(ready, data[ready.Cursor:], 64<<10)
	p.Send(&protocol.Finish{Digest: &protocol.Digest{SHA256: sum(data)}})
	next[*protocol.Done](p)
	seen := r.app.seen()
	sameBytes(r.t, seen[len(seen)-1].body, data)
}

func TestUnknownFieldsAreIgnored(t *testing.T) {
	r := newRig(t, rigOptions{})
	p := r.full()
	p.Text(`{"type":"open","id":"` + string(resume.NewID()) + `","length":0,"colour":"blue","deep":{"er":[1,2]}}`)
	next[*protocol.Ready](p)
	p.Text(`{"type":"finish","really":true}`)
	next[*protocol.Done](p)
}

func TestDataBeforeOpenIsRefused(t *testing.T) {
	r := newRig(t, rigOptions{})
	p := r.full()
	p.Data([]byte("hello"))
	if e := fails(p, protocol.BadMessage); !strings.Contains(e.Detail, "before any open") {
		t.Errorf("the detail is %q", e.Detail)
	}
}

func TestDataBehindFinishIsRefused(t *testing.T) {
	r := newRig(t, rigOptions{})
	p := r.full()
	o := open(resume.NewID(), 5)
	o.Eager = true
	p.Send(o)
	p.Data([]byte("hello"))
	p.Send(&protocol.Finish{})
	p.Data([]byte("again"))
	next[*protocol.Ready](p)
	for { // done of the first may come before or behind
		m, err := p.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := m.(*protocol.Error); ok {
			if e.Code != protocol.BadMessage {
				t.Fatalf("got %s", protocol.Encode(e))
			}
			return
		}
	}
}

func TestAWrongDigestIsNotDelivered(t *testing.T) {
	r := newRig(t, rigOptions{})
	data := content(21, 80_000)
	id := resume.NewID()
	p := r.full()
	p.Send(open(id, int64(len(data))))
	p.Stream(next[*protocol.Ready](p), data, 80_000)
	p.Send(&protocol.Finish{Digest: &protocol.Digest{SHA256: sum(data[1:])}})
	if e := next[*protocol.Error](p); e.Code != protocol.DigestMismatch || e.Resumable {
		t.Errorf("got %s", protocol.Encode(e))
	}
	if len(r.app.seen()) != 0 {
		t.Fatal("the app got a file that is not the one announced")
	}
	// The bytes are kept: with the right digest they are a file.
	p.Send(open(id, int64(len(data))))
	if c := next[*protocol.Ready](p).Cursor; c != int64(len(data)) {
		t.Errorf("%d bytes are held, expected %d", c, len(data))
	}
	p.Send(&protocol.Finish{Digest: &protocol.Digest{SHA256: sum(data)}})
	next[*protocol.Done](p)
}

func TestOverrunningTheWindowEndsTheConnection(t *testing.T) {
	stall := make(chan struct{})
	r := newRig(t, rigOptions{wrap: func(s resume.Store) resume.Store { return &gateStore{Store: s, gate: stall} }})
	id := resume.NewID()
	p := r.full()
	p.Send(open(id, 10<<20))
	ready := next[*protocol.Ready](p)
	p.Data(make([]byte, ready.Window))
	p.Data(make([]byte, 1<<20))
	close(stall)
	if e := fails(p, protocol.BadMessage); !strings.Contains(e.Detail, "window") {
		t.Errorf("the detail is %q", e.Detail)
	}
	// What was within the window counts.
	p = r.full()
	p.Send(open(id, 10<<20))
	if c := next[*protocol.Ready](p).Cursor; c != ready.Window {
		t.Errorf("resumes at %d, expected %d", c, ready.Window)
	}
}

func TestUpgradesThatAreRefused(t *testing.T) {
	r := newRig(t, rigOptions{Options: middleware.Options{
		Routes:         []string{"/upload/"},
		AllowedOrigins: []string{"https://app.example.com", "*.trusted.example"},
	}})
	for name, tc := range map[string]struct {
		header map[string]string
		status int
		says   string
	}{
		"foreign origin":               {map[string]string{"Origin": "https://evil.example"}, 403, `"https://evil.example" may not upload`},
		"null origin":                  {map[string]string{"Origin": "null"}, 403, "may not upload"},
		"http for https":               {map[string]string{"Origin": "http://app.example.com"}, 403, "may not upload"},
		"allowed origin":               {map[string]string{"Origin": "https://app.example.com"}, 101, ""},
		"allowed by pattern":           {map[string]string{"Origin": "http://a.trusted.example"}, 101, ""},
		"own origin":                   {map[string]string{"Origin": r.server.URL}, 101, ""},
		"no origin":                    {nil, 101, ""},
		"another subprotocol":          {map[string]string{"Sec-WebSocket-Protocol": "wsingest.v9, chat"}, 400, "offer wsingest.v1"},
		"the subprotocol among others": {map[string]string{"Sec-WebSocket-Protocol": "chat, wsingest.v1"}, 101, ""},
	} {
		t.Run(name, func(t *testing.T) {
			resp := r.upgrade("/upload/x", tc.header)
			if resp.StatusCode != tc.status {
				t.Fatalf("answered %d, expected %d", resp.StatusCode, tc.status)
			}
			if tc.says == "" {
				return
			}
			var problem struct{ Detail string }
			if err := json.NewDecoder(resp.Body).Decode(&problem); err != nil || !strings.Contains(problem.Detail, tc.says) {
				t.Errorf("the problem is %q (%v), expected it to say %q", problem.Detail, err, tc.says)
			}
			if ct := resp.Header.Get("Content-Type"); ct != "application/problem+json" {
				t.Errorf("Content-Type is %q", ct)
			}
		})
	}
	for name, query := range map[string]string{
		"length": "length=many", "offset": "offset=-1", "digest": "digest=md5:00", "acks": "acks=yes", "finish": "finish=now",
	} {
		resp := r.upgrade("/upload/x?"+query, nil)
		var problem struct{ Detail string }
		json.NewDecoder(resp.Body).Decode(&problem)
		if resp.StatusCode != 400 || !strings.Contains(strings.ToLower(problem.Detail), name) {
			t.Errorf("%s: answered %d %q", query, resp.StatusCode, problem.Detail)
		}
	}
}

func TestWhatIsNoUploadReachesTheNextHandlerUntouched(t *testing.T) {
	r := newRig(t, rigOptions{Options: middleware.Options{Routes: []string{"/upload/"}}})
	resp, err := http.Post(r.server.URL+"/upload/x?y=1", "text/plain", strings.NewReader("hello"))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	r.upgrade("/elsewhere", nil)
	seen := r.app.seen()
	if len(seen) != 2 || seen[0].url != "/upload/x?y=1" || string(seen[0].body) != "hello" || seen[1].header.Get("Upgrade") != "websocket" {
		t.Errorf("the app saw %+v", seen)
	}
}

// upgrade asks for a WebSocket by hand and returns the answer.
func (r *rig) upgrade(path string, header map[string]string) *http.Response {
	r.t.Helper()
	conn := r.tcp(path, header)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp
}

// tcp sends the handshake and returns the socket behind it.
func (r *rig) tcp(path string, header map[string]string) net.Conn {
	r.t.Helper()
	u, _ := url.Parse(r.server.URL)
	conn, err := net.Dial("tcp", u.Host)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { conn.Close() })
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", path, u.Host)
	for k, v := range header {
		fmt.Fprintf(conn, "%s: %s\r\n", k, v)
	}
	fmt.Fprint(conn, "\r\n")
	return conn
}

func TestAFrameHeaderOf1GiBWithNothingBehindCostsNothing(t *testing.T) {
	middleware.AllowFastKeepalive()
	r := newRig(t, rigOptions{Options: middleware.Options{Keepalive: middleware.Keepalive{Interval: 50e6, Timeout: 400e6}}})
	id := resume.NewID()
	conn := r.tcp("/upload/x?id="+string(id), nil)
	br := bufio.NewReader(conn)
	http.ReadResponse(br, nil)
	whole := content(22, 1000)
	writeFrame(conn, whole, len(whole))
	writeFrame(conn, nil, 1<<30)
	// The server gives up on it after its timeout, and not a byte is lost.
	for {
		if _, err := br.ReadByte(); err != nil {
			break
		}
	}
	if allotted := r.ingest.Allotted(); allotted > 4<<20 {
		t.Errorf("%d bytes of memory are allotted", allotted)
	}
	p := r.dial("offset=resume&id=" + string(id))
	if c := next[*protocol.Ready](p).Cursor; c != 1000 {
		t.Errorf("resumes at %d, expected 1000", c)
	}
}

// writeFrame writes a binary frame that claims to be size bytes long, masked
// with zeros.
func writeFrame(conn net.Conn, payload []byte, size int) {
	h := []byte{0x82, 0x80 | 127}
	h = binary.BigEndian.AppendUint64(h, uint64(size))
	h = append(h, 0, 0, 0, 0)
	conn.Write(append(h, payload...))
}

// Bytes of a frame that was cut cannot be trusted: a proxy may have written
// its own close frame into it.
func TestOnlyWholeMessagesCount(t *testing.T) {
	gone := make(chan struct{}, 10)
	r := newRig(t, rigOptions{Options: middleware.Options{Observer: func(e middleware.Event) {
		if e.Kind == middleware.Disconnected {
			gone <- struct{}{}
		}
	}}})
	for _, tc := range []struct{ size, sent, counts int }{
		{1 << 20, 1<<20 - 1, 0},
		{3 << 20, 2<<20 + 100, 2 << 20}, // of larger ones, whole steps of 1 MiB
		{500, 499, 0},
	} {
		id := resume.NewID()
		conn := r.tcp("/upload/x?id="+string(id), nil)
		br := bufio.NewReader(conn)
		http.ReadResponse(br, nil)
		readFrame(br) // unread bytes would make the close a reset
		writeFrame(conn, content(23, 1000), 1000)
		writeFrame(conn, content(24, tc.sent), tc.size)
		conn.Close()
		<-gone
		st, err := r.store.Stat(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := st.Received.EndFrom(0), int64(1000+tc.counts); got != want {
			t.Errorf("of 1000 bytes and %d of a message of %d, %d count, expected %d", tc.sent, tc.size, got, want)
		}
	}
}

// A client that goes on behind what the server cannot take is not remembered
// word for word until a store that hangs has come to its mistake.
func TestWhatFollowsAMistakeTakesNoMemory(t *testing.T) {
	for name, more := range map[string]func(p *peer){
		"messages": func(p *peer) { p.Text(`{"type":"nonsense"}`) },
		"bytes":    func(p *peer) { p.Data([]byte("more")) },
	} {
		t.Run(name, func(t *testing.T) {
			stall := make(chan struct{})
			r := newRig(t, rigOptions{wrap: func(s resume.Store) resume.Store { return &gateStore{Store: s, gate: stall} }})
			p := r.full()
			p.Send(&protocol.Open{ID: string(resume.NewID())})
			next[*protocol.Ready](p)
			p.Data([]byte("the store hangs over this"))
			p.Text(`{"type":"mistake"}`)
			for range 5000 {
				more(p)
			}
			waiting := make(chan int, 1)
			go func() {
				p.WS.Ping(deadline(t)) // the pong says that all of it was read
				waiting <- r.ingest.Waiting()
				close(stall)
			}()
			fails(p, protocol.BadMessage)
			if n := <-waiting; n > 10 {
				t.Errorf("%d things waited for the store", n)
			}
		})
	}
}
