package client

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testContext bounds a test that would hang.
func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// quick are options that waste no time between attempts.
func quick() Options {
	return Options{Retry: Retry{MinDelay: time.Millisecond, MaxDelay: 10 * time.Millisecond, MaxTries: 50}}
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rng := rand.NewChaCha8([32]byte{byte(n), byte(n >> 8), byte(n >> 16)})
	rng.Read(b)
	return b
}

func writeFile(t *testing.T, content []byte) string {
	path := filepath.Join(t.TempDir(), "file.bin")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestEverySizeArrivesWhole(t *testing.T) {
	for _, n := range []int{0, 1, 64<<10 - 1, 64 << 10, 256 << 10, 256<<10 + 1, 3<<20 + 7} {
		for _, digest := range []bool{false, true} {
			content := randomBytes(n)
			sources := map[string]*Source{
				"ReaderAt":          FromReaderAt(bytes.NewReader(content), int64(n)),
				"Reader":            FromReader(bytes.NewReader(content), int64(n)),
				"Reader of unknown": FromReader(io.MultiReader(bytes.NewReader(content)), UnknownSize),
			}
			for kind, src := range sources {
				f := newFake(t, nil)
				o := quick()
				o.WantDigest = digest
				r, err := Upload(testContext(t), f.url, src, o)
				if err != nil {
					t.Fatalf("%s of %d bytes: %v", kind, n, err)
				}
				if u := f.upload(); !bytes.Equal(u.content, content) || r.Length != int64(n) {
					t.Fatalf("%s of %d bytes: the server has %d, the result says %d", kind, n, len(u.content), r.Length)
				}
				if sum := sha256.Sum256(content); digest && !bytes.Equal(r.SHA256, sum[:]) {
					t.Fatalf("%s of %d bytes: SHA-256 %x", kind, n, r.SHA256)
				}
				if f.upload().finish.Digest == nil {
					t.Fatalf("%s of %d bytes: finish has no digest", kind, n)
				}
			}
		}
	}
}

// The fake reports every byte that is sent below an offset it has told, and
// every byte beyond the window: these tests provoke it.

func TestNeverSendsBelowOffsetAgain(t *testing.T) {
	content := randomBytes(2 << 20)
	for seed := range uint64(8) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var mu sync.Mutex
		f := newFake(t, func(f *fake) {
			f.lag = rng.Int64N(200 << 10)
			f.lossy = seed%2 == 0
			f.cutAfter = func(n int) int64 {
				mu.Lock()
				defer mu.Unlock()
				if n > 6 {
					return 0
				}
				return 1 + rng.Int64N(600<<10)
			}
		})
		for kind, src := range map[string]*Source{
			"file":   FromReaderAt(bytes.NewReader(content), int64(len(content))),
			"stream": FromReader(io.MultiReader(bytes.NewReader(content)), UnknownSize),
		} {
			src.Name = kind
			r, err := Upload(testContext(t), f.url, src, quick())
			if err != nil {
				t.Fatalf("seed %d, %s: %v", seed, kind, err)
			}
			f.mu.Lock()
			if u := f.uploads[r.ID]; !bytes.Equal(u.content, content) {
				t.Errorf("seed %d, %s: content differs", seed, kind)
			}
			f.mu.Unlock()
		}
	}
}

func TestNeverOverrunsTheWindow(t *testing.T) {
	content := randomBytes(3 << 20)
	for _, window := range []int64{1 << 10, 100_000, 256 << 10, 1 << 20} {
		for _, chunk := range []int64{1 << 10, 64 << 10, 300_000, 4 << 20} {
			if window/chunk > 500 || window == 1<<10 && chunk > 1<<10 {
				continue // correct, but slow with a round trip for each KiB
			}
			f := newFake(t, func(f *fake) { f.window, f.chunk = window, chunk })
			n := min(int64(len(content)), window*200)
			src := FromReader(bytes.NewReader(content), n)
			if _, err := Upload(testContext(t), f.url, src, quick()); err != nil {
				t.Fatalf("window %d, chunk %d: %v", window, chunk, err)
			}
		}
	}
}

func TestStallIsNoticed(t *testing.T) {
	content := randomBytes(1 << 20)
	var retried error
	f := newFake(t, func(f *fake) {
		f.interval = 50 * time.Millisecond
		f.onData = func(c *fakeConn, u *fakeUpload) error {
			if c.n == 1 && u.binary > 300<<10 {
				return errHang
			}
			return nil
		}
	})
	o := quick()
	o.Retry.OnRetry = func(err error, _ time.Duration) { retried = err }
	r, err := Upload(testContext(t), f.url, FromReaderAt(bytes.NewReader(content), 1<<20), o)
	if err != nil {
		t.Fatal(err)
	}
	if !errors.Is(retried, ErrStalled) || r.Reconnects < 1 {
		t.Errorf("retried after %v, %d reconnects", retried, r.Reconnects)
	}
}

func TestHeartbeatsKeepAWaitingConnection(t *testing.T) {
	release := make(chan struct{})
	f := newFake(t, func(f *fake) {
		f.interval = 200 * time.Millisecond
	})
	pr, pw := io.Pipe()
	go func() {
		pw.Write([]byte("first"))
		<-release
		pw.Write([]byte("second"))
		pw.Close()
	}()
	time.AfterFunc(4*f.interval, func() { close(release) })
	r, err := Upload(testContext(t), f.url, FromReader(pr, UnknownSize), quick())
	if err != nil || r.Reconnects != 0 {
		t.Fatalf("%+v, %v: a source that pauses must not cost a connection", r, err)
	}
	if got := string(f.upload().content); got != "firstsecond" {
		t.Errorf("content %q", got)
	}
}

// countingReader says how much was read of it.
type countingReader struct {
	mu   sync.Mutex
	n    int64
	size int64
}

func (r *countingReader) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.n == r.size {
		return 0, io.EOF
	}
	n := int(min(int64(len(p)), r.size-r.n))
	r.n += int64(n)
	return n, nil
}

func (r *countingReader) count() int64 { r.mu.Lock(); defer r.mu.Unlock(); return r.n }

func TestReaderRetentionIsBounded(t *testing.T) {
	const retention = 2 << 20
	src := &countingReader{size: 12 << 20}
	f := newFake(t, func(f *fake) {
		f.window = 64 << 20
		f.lag = 1 << 20
		f.onData = func(_ *fakeConn, u *fakeUpload) error {
			if ahead := src.count() - u.durable; ahead > retention+f.chunk {
				t.Errorf("%d bytes were read beyond what is durable, the retention is %d", ahead, retention)
			}
			return nil
		}
	})
	o := quick()
	o.Retention = retention
	if _, err := Upload(testContext(t), f.url, FromReader(src, UnknownSize), o); err != nil {
		t.Fatal(err)
	}
}

func TestLanesFillWhatIsMissing(t *testing.T) {
	content := randomBytes(24 << 20)
	for _, cut := range []bool{false, true} {
		f := newFake(t, func(f *fake) {
			f.window = 4 << 20
			f.chunk = 256 << 10
			if cut {
				f.cutAfter = func(n int) int64 {
					if n > 5 {
						return 0
					}
					return int64(n) * 1_100_000
				}
			}
		})
		o := quick()
		o.Lanes, o.WantDigest = 3, true
		r, err := Upload(testContext(t), f.url, FromReaderAt(bytes.NewReader(content), int64(len(content))), o)
		if err != nil {
			t.Fatal(err)
		}
		u := f.upload()
		if !bytes.Equal(u.content, content) || r.Length != int64(len(content)) {
			t.Error("content differs")
		}
		if !cut && u.binary != int64(len(content)) {
			t.Errorf("%d bytes were sent for %d", u.binary, len(content))
		}
	}
}

func TestCloseIsBoundedWithASilentPeer(t *testing.T) {
	hung := make(chan struct{})
	f := newFake(t, func(f *fake) {
		f.window = 64 << 20
		f.onData = func(*fakeConn, *fakeUpload) error { close(hung); return errHang }
	})
	c, err := New(f.url, quick())
	if err != nil {
		t.Fatal(err)
	}
	result := make(chan error, 1)
	go func() {
		_, err := c.Upload(context.Background(), FromReader(&countingReader{size: 64 << 20}, UnknownSize))
		result <- err
	}()
	<-hung
	start := time.Now()
	c.Close()
	if took := time.Since(start); took > 3*goodbyeTimeout {
		t.Errorf("Close took %v", took)
	}
	if err := <-result; !errors.Is(err, ErrClosed) || !Resumable(err) {
		t.Errorf("error %v", err)
	}
}

func TestProgressOnlyGoesForward(t *testing.T) {
	const size = 3 << 20
	f := newFake(t, func(f *fake) {
		f.lag = 100 << 10
		f.cutAfter = func(n int) int64 { return map[int]int64{1: 900_000, 2: 700_000}[n] }
	})
	var last Progress
	src := FromReaderAt(bytes.NewReader(randomBytes(size)), size)
	src.OnProgress = func(p Progress) {
		if p.Sent < last.Sent || p.Durable < last.Durable || p.Received > p.Sent || p.Durable > p.Received || p.Total != size {
			t.Errorf("progress %+v after %+v", p, last)
		}
		last = p
	}
	if _, err := Upload(testContext(t), f.url, src, quick()); err != nil {
		t.Fatal(err)
	}
	if last != (Progress{Sent: size, Received: size, Durable: size, Total: size}) {
		t.Errorf("the last progress is %+v", last)
	}
}
