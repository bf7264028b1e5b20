package middleware_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wsingest/wsingest/middleware"
	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/resume"
	"github.com/wsingest/wsingest/resume/client"
	"github.com/wsingest/wsingest/resume/filestore"
)

// smallDisk is a rig whose store is on a file system of its own.
func smallDisk(t *testing.T, size string, o middleware.Options, reserve int64) (r *rig, dir string) {
	t.Helper()
	dir = t.TempDir()
	mount(t, dir, 0, "size="+size)
	store, err := filestore.New(dir, filestore.Options{Reserve: reserve})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() }) // fails where an upload waits for room to the end
	middleware.AskForSpaceOften()
	return newRig(t, rigOptions{store: store, Options: o}), dir
}

// Ten clients with 50 MiB each on a disk of 200 MiB (a tenth of both, but for
// WSINGEST_LONG): who cannot fit is told before the first byte, the rest finish,
// and then there is room for others.
func TestUploadsThatDoNotFitAreToldBeforeTheFirstByte(t *testing.T) {
	size, disk, reserve := int64(5<<20), "20m", int64(1<<20)
	if os.Getenv("WSINGEST_LONG") != "" {
		size, disk, reserve = 50<<20, "200m", 8<<20
	}
	r, _ := smallDisk(t, disk, middleware.Options{}, reserve)
	data := content(70, int(size))
	var begun, refused, done atomic.Int32
	var each sync.WaitGroup
	for range 10 {
		each.Go(func() {
			id := resume.NewID()
			for first := true; ; first = false {
				p := r.full()
				p.Send(open(id, size))
				m, err := p.Recv()
				if err != nil {
					t.Error(err)
					return
				}
				if e, ok := m.(*protocol.Error); ok {
					if e.Code != protocol.InsufficientSpace || !e.Resumable || e.RetryAfterMS == 0 {
						t.Errorf("got %s", protocol.Encode(e))
						return
					}
					if first {
						refused.Add(1)
					}
					p.Closed()
					time.Sleep(20 * time.Millisecond)
					continue
				}
				if first {
					begun.Add(1)
				}
				for first && begun.Load()+refused.Load() < 10 {
					time.Sleep(time.Millisecond) // everybody has been told where they stand
				}
				p.Stream(m.(*protocol.Ready), data, 128<<10)
				p.Send(&protocol.Finish{Digest: &protocol.Digest{SHA256: sum(data)}})
				next[*protocol.Done](p)
				done.Add(1)
				return
			}
		})
	}
	each.Wait()
	if begun.Load() != 3 || refused.Load() != 7 {
		t.Errorf("%d were let in at first and %d refused, expected 3 and 7: a part of the disk is kept", begun.Load(), refused.Load())
	}
	seen := r.app.seen()
	if done.Load() != 10 || len(seen) != 10 {
		t.Fatalf("%d finished, the app got %d", done.Load(), len(seen))
	}
	for _, s := range seen {
		sameBytes(t, s.body, data)
	}
}

// The disk fills up in the middle of uploads whose length nobody knew: they
// wait, hear so as long as it takes, and go on when there is room.
func TestUploadsWaitForRoomAndGoOn(t *testing.T) {
	middleware.AllowFastKeepalive()
	o := middleware.Options{Keepalive: middleware.Keepalive{Interval: 50 * time.Millisecond, Timeout: 10 * time.Second}}
	r, dir := smallDisk(t, "48m", o, 1<<20)
	filler := filepath.Join(dir, "filler")
	if err := os.WriteFile(filler, make([]byte, 40<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	data := content(71, 20<<20)

	// One watches its own acks.
	watched := r.full()
	id := resume.NewID()
	watched.Send(&protocol.Open{ID: string(id)})
	first := next[*protocol.Ready](watched)
	received, window, sent := first.Received, first.Window, int64(0)
	hears := func() *protocol.Ack {
		t.Helper()
		a := next[*protocol.Ack](watched)
		if a.State == "" {
			received, window = a.Received, a.Window
		}
		return a
	}
	waits, last := 0, int64(0)
	for waits < 3 { // heartbeats come while it waits
		for waits == 0 && sent-received < window && sent < int64(len(data)) {
			n := min(256<<10, window-(sent-received), int64(len(data))-sent)
			watched.Data(data[sent : sent+n])
			sent += n
		}
		switch a := hears(); {
		case a.State == protocol.StateWaitingForSpace && a.Window == 0 && a.Chunk > 0:
			waits++
		case a.State != "":
			t.Fatalf("got %s", protocol.Encode(a))
		case waits > 0:
			t.Fatalf("it goes on without room: %s", protocol.Encode(a))
		default:
			last = a.Offset
		}
	}
	// Another is the Go client, and a plain one sends on and on.
	results := make(chan error, 1)
	var told atomic.Bool
	go func() {
		src := &client.Source{Reader: io.LimitReader(bytes.NewReader(data), 6<<20), Size: client.UnknownSize, Name: "a"}
		src.OnProgress = func(p client.Progress) { told.Store(told.Load() || p.WaitingForSpace) }
		_, err := client.Upload(deadline(t), r.url, src, client.Options{})
		results <- err
	}()
	plain := r.dial("finish=close&id=" + string(resume.NewID()))
	next[*protocol.Ready](plain)
	go func() {
		for at := 0; at < 6<<20; at += 256 << 10 {
			plain.Data(data[at : at+256<<10])
		}
		plain.Send(&protocol.Finish{})
	}()
	waitFor(t, told.Load)
	select {
	case err := <-results:
		t.Fatalf("the Go client ended without room: %v", err)
	default:
	}

	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	for sent < int64(len(data)) {
		for sent-received >= window {
			a := hears()
			if a.Offset < last {
				t.Fatalf("offset went back from %d to %d", last, a.Offset)
			}
			last = a.Offset
		}
		n := min(256<<10, window-(sent-received), int64(len(data))-sent)
		watched.Data(data[sent : sent+n])
		sent += n
	}
	watched.Send(&protocol.Finish{Digest: &protocol.Digest{SHA256: sum(data)}})
	next[*protocol.Done](watched)
	if err := <-results; err != nil {
		t.Errorf("the Go client: %v", err)
	}
	if d := next[*protocol.Done](plain); d.Length != 6<<20 {
		t.Errorf("the plain client's upload has %d bytes", d.Length)
	}
	for _, s := range r.app.seen() {
		sameBytes(t, s.body, data[:len(s.body)])
	}
}

// A server that stops does not wait for room.
func TestAnUploadThatWaitsForRoomHoldsUpNoShutdown(t *testing.T) {
	r, _ := smallDisk(t, "2m", middleware.Options{}, 0)
	p := r.full()
	p.Send(&protocol.Open{ID: string(resume.NewID())})
	ready := next[*protocol.Ready](p)
	data := content(72, 4<<20)
	sent, received, window := int64(0), ready.Received, ready.Window
	for {
		for sent-received < window {
			n := min(64<<10, window-(sent-received))
			p.Data(data[sent : sent+n])
			sent += n
		}
		a := next[*protocol.Ack](p)
		if a.State == protocol.StateWaitingForSpace {
			break
		}
		received, window = a.Received, a.Window
	}
	ended := make(chan error, 1)
	go func() { ended <- r.ingest.Shutdown(deadline(t)) }()
	for {
		m, err := p.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := m.(*protocol.Error); ok {
			if e.Code != protocol.Draining {
				t.Errorf("got %s", protocol.Encode(e))
			}
			break
		}
	}
	p.Closed()
	if err := <-ended; err != nil && !errors.Is(err, resume.ErrNoSpace) {
		t.Errorf("Shutdown: %v", err)
	}
}
