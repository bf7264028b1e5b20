package crash

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/wsingest/wsingest/middleware"
	"github.com/wsingest/wsingest/resume"
	"github.com/wsingest/wsingest/resume/client"
	"github.com/wsingest/wsingest/resume/filestore"
)

// rounds is how often the server is killed, and the connection cut.
const rounds = 100

// serveIn makes the test's own binary a server: it can be killed for real.
const serveIn = "WSINGEST_CRASH_SERVER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(serveIn); dir != "" {
		serve(dir)
		return
	}
	os.Exit(m.Run())
}

// serve runs until it is killed. It prints its address, and ends by itself
// when its parent does: its standard input closes then.
func serve(dir string) {
	var server *httptest.Server
	var err error
	if app := os.Getenv(serveApp); app != "" {
		server, err = startBefore(dir, app)
	} else {
		server, _, err = start(dir)
	}
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	fmt.Println(server.Listener.Addr())
	bufio.NewReader(os.Stdin).ReadString('\n')
}

func start(dir string) (*httptest.Server, func(), error) {
	store, err := filestore.New(filepath.Join(dir, "incoming"), filestore.Options{SyncInterval: 5 * time.Millisecond})
	if err != nil {
		return nil, nil, err
	}
	ingest, err := middleware.New(store, middleware.Options{Publish: &middleware.Publish{Dir: filepath.Join(dir, "files"), OnConflict: resume.ConflictFail}})
	if err != nil {
		return nil, nil, err
	}
	server := httptest.NewServer(ingest.Wrap(nil))
	return server, func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		ingest.Shutdown(ctx)
		server.Close()
		store.Close()
	}, nil
}

// process is a server that can be killed.
type process struct {
	cmd  *exec.Cmd
	addr string
}

func startProcess(t *testing.T, dir string) *process {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), serveIn+"="+dir)
	cmd.Stderr = os.Stderr
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	addr, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || strings.HasPrefix(addr, "error") {
		t.Fatalf("the server did not start: %s %v", addr, err)
	}
	return &process{cmd, strings.TrimSpace(addr)}
}

func (p *process) kill() {
	p.cmd.Process.Kill()
	p.cmd.Wait()
}

// load is uploads without end, one behind the other in each of several
// clients, until it is told to stop.
type load struct {
	t     *testing.T
	dir   string // of the server
	url   string
	log   *zap.Logger
	seed  uint64
	ctx   context.Context
	halt  chan struct{}
	wg    sync.WaitGroup
	mu    sync.Mutex
	whole int // uploads that were completed and compared
}

func (l *load) run(lanes int) {
	l.wg.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-l.halt:
				return
			default:
			}
			if !l.one(fmt.Sprintf("file-%d-%d", lanes, n), lanes, uint64(n)<<8|uint64(lanes)) {
				return
			}
		}
	})
}

// one uploads one file of random content and compares what arrived.
func (l *load) one(name string, lanes int, seed uint64) bool {
	data := make([]byte, 17<<20+int(seed%1000)) // lanes need 16 MiB
	rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(l.seed)}).Read(data)
	src := &client.Source{ReaderAt: bytes.NewReader(data), Size: int64(len(data)), Name: name}
	r, err := client.Upload(l.ctx, l.url, src, client.Options{
		Lanes: lanes, WantDigest: true, Logger: l.log,
		Retry: client.Retry{MinDelay: 5 * time.Millisecond, MaxDelay: 50 * time.Millisecond},
	})
	if err != nil {
		l.t.Errorf("%s: %v", name, err)
		return false
	}
	got, err := os.ReadFile(filepath.Join(l.dir, "files", name))
	if err != nil {
		l.t.Error(err)
		return false
	}
	want := sha256.Sum256(data)
	if sum := sha256.Sum256(got); sum != want || !bytes.Equal(r.SHA256, want[:]) {
		l.t.Errorf("%s arrived as %x, done said %x, expected %x", name, sum, r.SHA256, want)
		return false
	}
	os.Remove(filepath.Join(l.dir, "files", name)) // it is compared; keep the disk free
	l.mu.Lock()
	l.whole++
	l.mu.Unlock()
	return true
}

func newLoad(t *testing.T, dir, addr string) *load {
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	t.Cleanup(cancel)
	log := zap.NewNop()
	if os.Getenv("WSINGEST_DEBUG") != "" {
		log, _ = zap.NewDevelopment()
	}
	return &load{t: t, dir: dir, log: log, url: "ws://" + addr + "/upload/", seed: rand.Uint64(), ctx: ctx, halt: make(chan struct{})}
}

func (l *ledger) report(t *testing.T) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, b := range l.breaches {
		if i == 10 {
			t.Errorf("and %d breaches more", len(l.breaches)-10)
			break
		}
		t.Error(b)
	}
}

// kill -9 of the server at random moments under load: every upload completes
// with the right digest, offset never goes back, and no byte below a seen
// offset is sent again.
func TestUploadsSurviveKill9(t *testing.T) {
	dir := serverDir(t)
	l := newLedger()
	server := startProcess(t, dir)
	tap, err := newTap(l, server.addr, func() int64 { return -1 })
	if err != nil {
		t.Fatal(err)
	}
	load := newLoad(t, dir, tap.listener.Addr().String())
	load.run(1)
	load.run(4)
	for range rounds {
		time.Sleep(time.Duration(rand.Int64N(int64(150 * time.Millisecond))))
		server.kill()
		server = startProcess(t, dir)
		tap.target.Store(&server.addr)
	}
	close(load.halt)
	load.wg.Wait()
	server.kill()
	tap.close()
	l.report(t)
	t.Logf("%d kills: %d uploads completed and compared, %d acks, %d resumes", rounds, load.whole, l.acks, l.resumes)
	if load.whole < 2 || l.resumes < rounds/4 {
		t.Errorf("the load was no load")
	}
}

// The connection is cut at random bytes, lanes on and off.
func TestUploadsSurviveCutsAtAnyByte(t *testing.T) {
	dir := serverDir(t)
	server, stop, err := start(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	l := newLedger()
	var done atomic.Bool
	tap, err := newTap(l, server.Listener.Addr().String(), func() int64 {
		switch {
		case done.Load():
			return -1
		case rand.IntN(4) == 0:
			return 1 + rand.Int64N(600) // in the handshake, or in open
		}
		return 1 + rand.Int64N(4<<20)
	})
	if err != nil {
		t.Fatal(err)
	}
	load := newLoad(t, dir, tap.listener.Addr().String())
	load.run(1)
	load.run(4)
	for end := time.Now().Add(3 * time.Minute); tap.cuts.Load() < rounds && time.Now().Before(end) && !t.Failed(); {
		time.Sleep(10 * time.Millisecond)
	}
	done.Store(true)
	close(load.halt)
	load.wg.Wait()
	tap.close()
	l.report(t)
	t.Logf("%d cuts: %d uploads completed and compared, %d acks, %d resumes", tap.cuts.Load(), load.whole, l.acks, l.resumes)
	if tap.cuts.Load() < rounds {
		t.Errorf("only %d connections were cut", tap.cuts.Load())
	}
}

func serverDir(t *testing.T) string {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "files"), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}
