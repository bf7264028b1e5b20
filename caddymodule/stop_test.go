package caddymodule_test

import (
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/resume"
	"github.com/wsingest/wsingest/resume/client"
)

// TestUploadsGoOnAfterAStop: the process ends in mid-transfer and is started
// again. The Go client notices by itself; what arrives is what was sent.
func TestUploadsGoOnAfterAStop(t *testing.T) {
	size := int64(48 << 20)
	if long {
		size = 1 << 30
	}
	for _, c := range []struct {
		name string
		stop func(*server)
	}{
		{"SIGTERM", func(s *server) {
			if took := s.terminate(); took > 8*time.Second {
				t.Errorf("Caddy took %v to end", took)
			}
		}},
		{"SIGKILL", (*server).kill},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBackend(t)
			s := startServer(t, twoLines(b))
			path, digest := makeFile(t, size)
			src := slowly(t, path, size/4)
			reached := make(chan struct{})
			once := sync.OnceFunc(func() { close(reached) })
			src.OnProgress = func(p client.Progress) {
				if p.Durable > size/3 {
					once()
				}
			}
			o := client.Options{WantDigest: true, Retry: client.Retry{GiveUpAfter: 30 * time.Second, MaxDelay: time.Second}}
			var r *client.Result
			var err error
			ended := make(chan struct{})
			go func() {
				r, err = client.Upload(deadline(t), "ws://localhost:"+s.port+"/upload/film.bin", src, o)
				close(ended)
			}()
			select {
			case <-reached:
			case <-ended:
				t.Fatalf("the upload ended before a third of it was durable: %+v, %v", r, err)
			}
			c.stop(s)
			s.start(twoLines(b))
			<-ended
			if err != nil {
				t.Fatal(err)
			}
			if r.Reconnects == 0 {
				t.Fatal("the client was never disconnected: the test proves nothing")
			}
			seen := b.seen()
			if len(seen) != 1 || seen[0].digest != digest || seen[0].length != size {
				t.Fatalf("the backend got %d requests: %+v, expected one with %s", len(seen), seen, digest)
			}
		})
	}
}

// TestWhatAStoppedServerSaidIsTrue: after SIGTERM, with goaway and 1012, the
// offset is where the upload goes on; after SIGKILL, what an ack said was
// durable is.
func TestWhatAStoppedServerSaidIsTrue(t *testing.T) {
	b := newBackend(t)
	s := startServer(t, twoLines(b))
	url := "ws://localhost:" + s.port + "/upload/film.bin"
	data := make([]byte, 200<<10)
	rand.NewChaCha8([32]byte{1}).Read(data)
	id := resume.NewID()
	length := int64(4 * len(data))

	p := dial(t, url, nil, protocol.Subprotocol)
	p.Send(open(id, length))
	next[*protocol.Ready](p)
	p.Data(data)
	for next[*protocol.Ack](p).Received < int64(len(data)) {
	}
	idle := dial(t, url, nil, protocol.Subprotocol) // with no upload
	plain := dial(t, url+"?length=10", nil)
	next[*protocol.Ready](plain)
	ended := make(chan time.Duration, 1)
	go func() { ended <- s.terminate() }()
	told := next[*protocol.Goaway](p)
	next[*protocol.Goaway](idle)
	for name, p := range map[string]*peer{"full": p, "idle": idle, "plain": plain} {
		if status := p.Closed(); status != websocket.StatusServiceRestart {
			t.Errorf("the %s client was closed with %d, expected 1012", name, status)
		}
	}
	if took := <-ended; took > 5*time.Second {
		t.Errorf("Caddy took %v to end", took)
	}
	if told.Offset != int64(len(data)) {
		t.Errorf("goaway says %d, but %d bytes were received", told.Offset, len(data))
	}

	s.start(twoLines(b))
	p = dial(t, url, nil, protocol.Subprotocol)
	p.Send(open(id, length))
	if ready := next[*protocol.Ready](p); ready.Cursor < told.Offset || ready.Offset < told.Offset {
		t.Errorf("after the restart the upload goes on at %d (durable %d), told was %d", ready.Cursor, ready.Offset, told.Offset)
	}
	p.Data(data)
	durable := told.Offset
	for durable < 2*int64(len(data)) {
		durable = next[*protocol.Ack](p).Offset
	}
	p.Data(data)
	s.kill()
	s.start(twoLines(b))
	p = dial(t, url, nil, protocol.Subprotocol)
	p.Send(open(id, length))
	if ready := next[*protocol.Ready](p); ready.Offset < durable {
		t.Errorf("after SIGKILL %d bytes are durable, told were %d", ready.Offset, durable)
	}
}
