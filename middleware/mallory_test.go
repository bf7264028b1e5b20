package middleware_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/resume"
)

// mallory means harm.
type mallory struct {
	t      *testing.T
	r      *rig
	victim *onlooker
	dir    string // files are published in its folder "in"
}

const asMallory = "user=mallory&from=203.0.113.9"

func (m *mallory) full() *peer { return m.r.dial(asMallory, protocol.Subprotocol) }

func lane(id resume.ID, length, start, end int64) *protocol.Open {
	o := open(id, length)
	o.Range = &protocol.Range{Start: start, End: &end}
	return o
}

// many runs n tries of something, some at a time.
func (m *mallory) many(n int, try func(i int) error) {
	var all sync.WaitGroup
	for worker := range 8 {
		all.Go(func() {
			for i := worker; i < n; i += 8 {
				if err := try(i); err != nil {
					m.t.Errorf("try %d: %v", i, err)
					return
				}
			}
		})
	}
	all.Wait()
}

// hears returns what the server says to an open on a connection of its own,
// without the id.
func (m *mallory) hears(o *protocol.Open) (protocol.Message, error) {
	ctx := m.t.Context()
	ws, _, err := websocket.Dial(ctx, m.r.url+"?"+asMallory, &websocket.DialOptions{Subprotocols: []string{protocol.Subprotocol}})
	if err != nil {
		return nil, err
	}
	defer ws.CloseNow()
	if err := ws.Write(ctx, websocket.MessageText, protocol.Encode(o)); err != nil {
		return nil, err
	}
	for {
		_, b, err := ws.Read(ctx)
		if err != nil {
			return nil, err
		}
		switch m, err := protocol.DecodeServer(b); m := m.(type) {
		case *protocol.Ack: // the heartbeat of a busy server
		case *protocol.Error:
			m.ID = ""
			return m, err
		default:
			return m, err
		}
	}
}

func (m *mallory) resumesWhatIsAnothers() {
	unknown, err := m.hears(&protocol.Open{ID: string(resume.NewID()), Resume: true})
	if e, ok := unknown.(*protocol.Error); err != nil || !ok || e.Code != protocol.NotFound {
		m.t.Fatalf("of an upload that is not there he hears %v %v", unknown, err)
	}
	for name, o := range map[string]*protocol.Open{
		"resume": {ID: string(m.victim.id), Resume: true},
		"create": {ID: string(m.victim.id)},
		"lane":   lane(m.victim.id, 1000, 0, 10),
		"eager":  {ID: string(m.victim.id), Eager: true},
	} {
		if answer, err := m.hears(o); err != nil || !bytes.Equal(protocol.Encode(answer), protocol.Encode(unknown)) {
			m.t.Errorf("%s: %v %v, expected what an upload that is not there is answered", name, answer, err)
		}
	}
}

// guessesIDs: what is there and what is not sound the same. They also take the
// same time, but for a small file that is read or not: both are looked for in
// the store, by the same way through the code.
func (m *mallory) guessesIDs() {
	tries := 10_000
	if testing.Short() {
		tries = 1000
	}
	var mu sync.Mutex
	heard := map[string]int{}
	took := map[bool][]time.Duration{} // by whether it is there
	m.many(tries, func(i int) error {
		id, there := resume.NewID(), i%16/8 == 0
		if there {
			id = m.victim.id
		}
		began := time.Now()
		answer, err := m.hears(&protocol.Open{ID: string(id), Resume: true})
		mu.Lock()
		defer mu.Unlock()
		took[there] = append(took[there], time.Since(began))
		if err == nil {
			heard[string(protocol.Encode(answer))]++
		}
		return err
	})
	if len(heard) != 1 {
		m.t.Errorf("he hears different things: %v", heard)
	}
	for there, list := range took {
		slices.Sort(list)
		m.t.Logf("there: %v, half of the answers within %v", there, list[len(list)/2])
	}
}

// silent opens connections that say nothing, and returns how many were taken
// and how many told that they are too many.
func (m *mallory) silent(n int, from func(i int) string) (taken, refused int) {
	for i := range n {
		conn := m.r.tcp("/upload/?user=mallory&from="+from(i), map[string]string{"Sec-WebSocket-Protocol": protocol.Subprotocol})
		resp, err := http.ReadResponse(bufio.NewReaderSize(conn, 512), nil)
		switch {
		case err != nil:
			m.t.Fatal(err)
		case resp.StatusCode == http.StatusSwitchingProtocols:
			taken++
		case resp.StatusCode == http.StatusTooManyRequests:
			refused++
			conn.Close()
		default:
			m.t.Fatalf("answered %d", resp.StatusCode)
		}
		if most := len(m.r.ingest.Connections()); from(0) == from(1) && most > 100+1 {
			m.t.Fatalf("%d connections are there", most)
		}
	}
	return taken, refused
}

func (m *mallory) floodsFromOnePlace() {
	n := 1000
	if long {
		n = 10_000
	}
	if taken, refused := m.silent(n, func(int) string { return "203.0.113.9" }); taken < 100 || refused == 0 {
		m.t.Errorf("%d connections were taken and %d refused", taken, refused)
	}
	m.victim.goesOn()
	m.gone()
}

func (m *mallory) floodsFromEverywhere() {
	taken, _ := m.silent(1000, func(i int) string { return fmt.Sprintf("203.0.%d.%d", i/250, i%250) })
	if taken != 1000 {
		m.t.Errorf("%d connections were taken", taken)
	}
	m.victim.goesOn()
	m.gone()
}

// gone waits until nobody is left but the onlooker.
func (m *mallory) gone() {
	m.t.Helper()
	waitFor(m.t, func() bool { return len(m.r.ingest.Connections()) == 1 })
}

func (m *mallory) trickles() {
	conn := m.r.tcp("/upload/?"+asMallory, nil)
	writeFrame(conn, nil, mib)
	cut := make(chan error, 1)
	go func() {
		var err error
		for end := time.Now().Add(20 * time.Second); err == nil && time.Now().Before(end); time.Sleep(15 * time.Millisecond) {
			_, err = conn.Write([]byte{'x'})
		}
		cut <- err
	}()
	m.victim.goesOn()
	if <-cut == nil {
		m.t.Error("he was let go on for 20 s")
	}
	m.gone()
}

func (m *mallory) fillsTheStore() {
	tries := 2000
	if long {
		tries = 100_000
	}
	var mu sync.Mutex
	heard := map[string]int{}
	m.many(tries, func(int) error {
		answer, err := m.hears(open(resume.NewID(), 1))
		for again := 0; err != nil && again < 5; again++ { // cut off: this machine stood still for his timeout
			answer, err = m.hears(open(resume.NewID(), 1))
		}
		mu.Lock()
		defer mu.Unlock()
		switch a := answer.(type) {
		case *protocol.Ready:
			heard["ready"]++
		case *protocol.Error:
			heard[string(a.Code)]++
		}
		return err
	})
	if heard["ready"] != 20 || heard["ready"]+heard[string(protocol.QuotaExceeded)] != tries {
		m.t.Errorf("he heard %v, expected 20 times ready, and quota-exceeded", heard)
	}
	stored := 0
	for _, err := range m.r.store.All(m.t.Context()) {
		if err == nil {
			stored++
		}
	}
	if stored != 20+1 {
		m.t.Errorf("%d uploads are in the store, expected his 20 and another", stored)
	}
}

func (m *mallory) choosesNames() {
	names := []string{
		"../../../../etc/cron.d/evil", "..", "../in", "/etc/passwd", `..\..\evil.txt`, "a/../../b.txt", "C:evil.txt", "a.txt:stream",
		".htaccess", "...", "CON", "nul.txt", "evil\x00.txt", "gpj.\u202eexe", "x.txt", "x.txt", "X.TXT", "x.txt.", strings.Repeat("n", 1000),
	}
	files := map[string]bool{}
	for i, name := range names {
		p := m.full()
		data := content(uint64(i), 100)
		o := open(resume.NewID(), 100)
		o.Name = name
		p.Send(o)
		next[*protocol.Ready](p)
		p.Data(data)
		p.Send(&protocol.Finish{})
		at := next[*protocol.Done](p).Location
		if !filepath.IsLocal(at) || strings.ContainsAny(at, `/\:`) || strings.HasPrefix(at, ".") || files[at] {
			m.t.Errorf("%q is published as %q", name, at)
		}
		files[at] = true
		if got, err := os.ReadFile(filepath.Join(m.dir, "in", at)); err != nil || !bytes.Equal(got, data) {
			m.t.Errorf("%q, published as %q, holds something else (%v)", name, at, err)
		}
	}
	if above, _ := os.ReadDir(m.dir); len(above) != 1 {
		m.t.Errorf("beside the folder there is %v", above)
	}
}

// floodsPings: each is answered, and the upload of the same connection goes on.
func (m *mallory) floodsPings() {
	const pings = 20_000
	id := resume.NewID()
	conn := m.r.tcp("/upload/?length=4&id="+string(id)+"&"+asMallory, nil)
	br := bufio.NewReader(conn)
	http.ReadResponse(br, nil)
	go func() {
		flood := bytes.Repeat([]byte{0x89, 0x80 | 1, 0, 0, 0, 0, '!'}, 100)
		for range pings / 100 {
			conn.Write(flood)
		}
		writeFrame(conn, []byte("file"), 4)
	}()
	m.victim.goesOn()
	conn.SetReadDeadline(time.Now().Add(30 * time.Second))
	for pongs := 0; ; {
		opcode, payload, err := readFrame(br)
		switch {
		case err != nil:
			m.t.Fatalf("after %d pongs: %v", pongs, err)
		case opcode == 10:
			pongs++
		case opcode == 8:
			if code := binary.BigEndian.Uint16(payload); code != 1000 || pongs != pings {
				m.t.Errorf("closed with %d after %d pongs, expected 1000 and %d", code, pongs, pings)
			}
			return
		}
	}
}

// floodsPingsUnheard: the pongs fill the line back to him, and the server does
// not wait for ever until he takes them off it.
func (m *mallory) floodsPingsUnheard() {
	conn := m.r.tcp("/upload/?"+asMallory, nil)
	conn.SetWriteDeadline(time.Now().Add(20 * time.Second))
	flood := bytes.Repeat(append([]byte{0x89, 0x80 | 125, 0, 0, 0, 0}, make([]byte, 125)...), 1000)
	for {
		if _, err := conn.Write(flood); errors.Is(err, os.ErrDeadlineExceeded) {
			m.t.Fatal("he was let go on for 20 s")
		} else if err != nil {
			break
		}
	}
	m.gone()
}

// breaksFraming sends a frame that RFC 6455 does not allow: the connection is
// failed with 1002, and the upload that it had holds what came before.
func (m *mallory) breaksFraming(frame []byte) {
	id := resume.NewID()
	conn := m.r.tcp("/upload/?id="+string(id)+"&"+asMallory, map[string]string{"Sec-WebSocket-Extensions": "permessage-deflate"})
	br := bufio.NewReader(conn)
	if resp, err := http.ReadResponse(br, nil); err != nil || resp.Header.Get("Sec-WebSocket-Extensions") != "" {
		m.t.Fatalf("%v: compression was agreed to: %v", err, resp.Header)
	}
	writeFrame(conn, []byte("good"), 4)
	conn.Write(frame)
	conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	for {
		opcode, payload, err := readFrame(br)
		if err != nil {
			m.t.Fatalf("closed without a word: %v", err)
		}
		if opcode == 8 {
			if code := binary.BigEndian.Uint16(payload); code != 1002 {
				m.t.Errorf("closed with %d, expected 1002", code)
			}
			break
		}
	}
	if _, err := br.ReadByte(); !errors.Is(err, io.EOF) {
		m.t.Errorf("behind the close there is more: %v", err)
	}
	m.gone()
	if st, err := m.r.store.Stat(m.t.Context(), id); err != nil || st.Received.EndFrom(0) != 4 {
		m.t.Errorf("the upload holds %v (%v), expected the 4 bytes that came before", st.Received, err)
	}
}
