package middleware_test

import (
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/resume"
	"github.com/wsingest/wsingest/resume/filestore"
)

// mount puts a real file system over dir until unmount, or the test's end.
func mount(t *testing.T, dir string, flags uintptr, options string) (unmount func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: mounting a file system of its own needs root")
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", flags, options); err != nil {
		t.Fatalf("mounting a tmpfs: %v", err)
	}
	unmount = sync.OnceFunc(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	t.Cleanup(unmount)
	return unmount
}

func TestAFullDiskIsSaidAndLosesNothing(t *testing.T) {
	dir := t.TempDir()
	mount(t, dir, 0, "size=4m")
	store, err := filestore.New(dir, filestore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	r := newRig(t, rigOptions{store: store})

	// A length that cannot fit is refused before the first byte.
	p := r.full()
	p.Send(open(resume.NewID(), 100<<20))
	if e := fails(p, protocol.InsufficientSpace); !e.Resumable || e.RetryAfterMS == 0 {
		t.Errorf("got %s", protocol.Encode(e))
	}

	// One that fits goes on while another, of unknown length, fills the disk.
	data := content(60, 1<<20)
	id := resume.NewID()
	p = r.full()
	p.Send(open(id, int64(len(data))))
	p.Stream(next[*protocol.Ready](p), data[:500_000], 100_000)
	p.Acked(500_000)
	filler := r.full()
	fillerID := resume.NewID()
	filler.Send(&protocol.Open{ID: string(fillerID)})
	next[*protocol.Ready](filler)
	filler.Data(content(61, 64<<10))
	ack := next[*protocol.Ack](filler)
	for ack.Offset < 64<<10 { // some of it is safe before the disk is full
		ack = next[*protocol.Ack](filler)
	}
	held := ack.Offset
	func() {
		received, window := ack.Received, ack.Window
		for sent := ack.Received; ; {
			for sent+64<<10-received > window {
				switch m, err := filler.Recv(); m := m.(type) {
				case *protocol.Ack:
					held = max(held, m.Offset)
					if m.State == protocol.StateWaitingForSpace {
						return
					}
					received, window = m.Received, m.Window
				default:
					t.Fatalf("got %v (%v), expected that it waits for room", m, err)
				}
			}
			filler.Data(content(61, 64<<10))
			sent += 64 << 10
		}
	}()
	st, err := r.store.Stat(t.Context(), fillerID)
	if err != nil || st.Durable.EndFrom(0) < held {
		t.Errorf("%d bytes were durable, now %v (%v)", held, st.Durable, err)
	}
	p.Stream(&protocol.Ready{Cursor: 500_000, Window: 100_000}, data[500_000:], 50_000)
	p.Send(&protocol.Finish{Digest: &protocol.Digest{SHA256: sum(data)}})
	nextDone(p)
}

func nextDone(p *peer) { next[*protocol.Done](p) }

func TestADiskThatTurnsReadOnlyIsSaidAndLosesNothing(t *testing.T) {
	dir := t.TempDir()
	store, err := filestore.New(dir, filestore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	r := newRig(t, rigOptions{store: store})
	data := content(62, 1<<20)
	id := resume.NewID()
	p := r.full()
	p.Send(open(id, int64(len(data))))
	p.Stream(next[*protocol.Ready](p), data[:300_000], 100_000)
	p.Acked(300_000)
	p.WS.CloseNow()

	unmount := mount(t, dir, syscall.MS_RDONLY, "size=4m")
	p = r.full()
	p.Send(open(resume.NewID(), 1000))
	if e := fails(p, protocol.Internal); !e.Resumable || !strings.Contains(e.Detail, "may not write to its own storage") {
		t.Errorf("got %s", protocol.Encode(e))
	}
	unmount()
	r.finishFrom(id, data, 300_000)
}
