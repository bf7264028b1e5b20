package middleware_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/wsingest/wsingest/middleware"
	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/resume"
)

// However little memory there is for how many messages in their middle, all of
// them come to their end: none waits for memory that another holds who waits.
func TestManyInTheMiddleOfAMessageDoNotWaitForEachOther(t *testing.T) {
	const size = 1 << 20
	for _, tc := range []struct {
		memory int64
		conns  int
	}{
		{1 << 20, 1}, // alone, with a message as large as all memory
		{1 << 20, 24},
		{16 << 20, 48},
	} {
		t.Run(fmt.Sprintf("%d in %d MiB", tc.conns, tc.memory>>20), func(t *testing.T) {
			r := newRig(t, rigOptions{Options: middleware.Options{Memory: tc.memory}})
			conns, readers := make([]net.Conn, tc.conns), make([]*bufio.Reader, tc.conns)
			pieces := make([]chan []byte, tc.conns) // written by a goroutine each: a write may wait for memory
			for i := range conns {
				conns[i] = r.tcp(fmt.Sprintf("/upload/x?id=%s&length=%d", resume.NewID(), size), nil)
				conns[i].SetDeadline(time.Now().Add(30 * time.Second))
				readers[i] = bufio.NewReader(conns[i])
				if resp, err := http.ReadResponse(readers[i], nil); err != nil || resp.StatusCode != 101 {
					t.Fatalf("connection %d: %v %v", i, resp, err)
				}
				pieces[i] = make(chan []byte, 8)
				go func() {
					writeFrame(conns[i], <-pieces[i], size)
					for p := range pieces[i] {
						conns[i].Write(p)
					}
				}()
				defer close(pieces[i])
			}
			data := content(7, size)
			for from := 0; from < size; from += size / 8 { // all of them a little, in turn
				for _, to := range pieces {
					to <- data[from : from+size/8]
				}
				time.Sleep(20 * time.Millisecond)
			}
			for i, br := range readers {
				for _, want := range []string{"ready", "done"} {
					op, p, err := readFrame(br)
					if err != nil || op != 1 {
						t.Fatalf("connection %d: waiting for %s: frame %d, %v", i, want, op, err)
					}
					if m, err := protocol.DecodeServer(p); err != nil || fmt.Sprintf("%T", m) != map[string]string{"ready": "*protocol.Ready", "done": "*protocol.Done"}[want] {
						t.Fatalf("connection %d: got %s, expected %s", i, p, want)
					}
				}
			}
			for _, req := range r.app.seen() {
				sameBytes(t, req.body, data)
			}
			for _, conn := range conns {
				conn.Close()
			}
			waitFor(t, func() bool { return r.ingest.Allotted() == 0 })
		})
	}
}

// A few fast connections do not keep another one out: while they go on, it
// gets its share of what they had.
func TestFastConnectionsLeaveOthersAWindow(t *testing.T) {
	r := newRig(t, rigOptions{Options: middleware.Options{Memory: 4 << 20}})
	var fast []*pacer
	for range 4 {
		p := newPacer(r)
		for p.sent < 8<<20 { // until the window has grown as far as it may
			p.send(64 << 10)
		}
		fast = append(fast, p)
	}
	late := newPacer(r)
	for round := 0; late.window < 128<<10; round++ {
		if round == 500 {
			t.Fatalf("a new connection is still granted %d bytes beside four fast ones", late.window)
		}
		for _, p := range fast {
			p.send(64 << 10)
		}
		late.send(8 << 10)
	}
}

// pacer sends what it is granted.
type pacer struct {
	*peer
	window, edge, sent int64
}

func newPacer(r *rig) *pacer {
	p := &pacer{peer: r.full()}
	p.Send(&protocol.Open{ID: string(resume.NewID())})
	p.window = next[*protocol.Ready](p.peer).Window
	p.edge = p.window
	return p
}

func (p *pacer) send(n int) {
	for n > 0 {
		if k := min(n, int(p.edge-p.sent)); k > 0 {
			p.Data(content(1, k))
			p.sent += int64(k)
			n -= k
			continue
		}
		a := next[*protocol.Ack](p.peer)
		p.window, p.edge = a.Window, max(p.edge, a.Received+a.Window)
	}
}
