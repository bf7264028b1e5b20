package crash

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/wsingest/wsingest/middleware"
	"github.com/wsingest/wsingest/resume"
	"github.com/wsingest/wsingest/resume/client"
	"github.com/wsingest/wsingest/resume/filestore"
)

// serveApp, beside serveIn, has the server hand files to the app at this URL.
const serveApp = "WSINGEST_CRASH_APP"

// long has the app be down for a minute.
var long = os.Getenv("WSINGEST_LONG") != ""

// startBefore is start with an app behind the server.
func startBefore(dir, app string) (*httptest.Server, error) {
	to, err := url.Parse(app)
	if err != nil {
		return nil, err
	}
	store, err := filestore.New(filepath.Join(dir, "incoming"), filestore.Options{SyncInterval: 5 * time.Millisecond})
	if err != nil {
		return nil, err
	}
	ingest, err := middleware.New(store, middleware.Options{Keepalive: middleware.Keepalive{Interval: time.Second}})
	if err != nil {
		return nil, err
	}
	return httptest.NewServer(ingest.Wrap(httputil.NewSingleHostReverseProxy(to))), nil
}

// app is what stands behind the server, and outlives it. It knows what it has
// done by the Idempotency-Key.
type app struct {
	mu       sync.Mutex
	down     bool
	asked    map[string]int // how often, by key
	took     map[string]int // how often with success
	contents map[string][]byte
	onTake   func() // before the first success is answered
}

func newApp() *app {
	return &app{asked: make(map[string]int), took: make(map[string]int), contents: make(map[string][]byte)}
}

func (a *app) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the server was killed over it
	}
	key := r.Header.Get("Idempotency-Key")
	a.mu.Lock()
	a.asked[key]++
	if a.down {
		a.mu.Unlock()
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	a.took[key]++
	a.contents[key] = body
	onTake := a.onTake
	a.onTake = nil
	a.mu.Unlock()
	if onTake != nil {
		onTake()
	}
	w.WriteHeader(http.StatusCreated)
}

// counts returns how many uploads the app was asked to take, and how many it
// took.
func (a *app) counts() (asked, took int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.asked), len(a.took)
}

func (a *app) askedFor(id resume.ID) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.asked[`"`+string(id)+`"`] > 0
}

func until(t *testing.T, what string, bound time.Duration, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(bound); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s did not come within %v", what, bound)
		}
	}
}

// The app is down, then comes back; the server is killed twice in between:
// every upload is delivered, none twice with success, and each client that asks
// gets its one done. Half of the clients are gone meanwhile.
func TestDeliveriesOutliveTheAppAndTheServer(t *testing.T) {
	const uploads = 50
	outage := 3 * time.Second
	if long {
		outage = time.Minute
	}
	a := newApp()
	a.down = true
	behind := httptest.NewServer(a)
	defer behind.Close()
	t.Setenv(serveApp, behind.URL)
	dir := serverDir(t)
	server := startProcess(t, dir)
	defer func() { server.kill() }()
	tap, err := newTap(newLedger(), server.addr, func() int64 { return -1 })
	if err != nil {
		t.Fatal(err)
	}
	defer tap.close()
	target := "ws://" + tap.listener.Addr().String() + "/upload/"

	ctx, cancel := context.WithTimeout(context.Background(), outage+2*time.Minute)
	defer cancel()
	ids := make([]resume.ID, uploads)
	upload := func(ctx context.Context, i int) error {
		data := bytes.Repeat([]byte{byte(i + 1)}, 10_000+i)
		_, err := client.Upload(ctx, target, &client.Source{ReaderAt: bytes.NewReader(data), Size: int64(len(data)), ID: string(ids[i]), Name: fmt.Sprint(i)},
			client.Options{Retry: client.Retry{MinDelay: 20 * time.Millisecond, MaxDelay: 500 * time.Millisecond}})
		return err
	}
	began := time.Now()
	var staying sync.WaitGroup
	for i := range ids {
		ids[i] = resume.NewID()
		ctx, leave := context.WithCancel(ctx)
		staying.Go(func() {
			defer leave()
			err := upload(ctx, i)
			if leaves := i%2 == 1; leaves != errors.Is(err, context.Canceled) || !leaves && err != nil {
				t.Errorf("upload %d: %v", i, err)
			}
		})
		if i%2 == 1 {
			go func() {
				for ctx.Err() == nil && !a.askedFor(ids[i]) {
					time.Sleep(time.Millisecond)
				}
				leave()
			}()
		}
	}
	until(t, "the first attempt of every delivery", time.Minute, func() bool { asked, _ := a.counts(); return asked == uploads })
	for n := 1; n <= 2; n++ {
		time.Sleep(time.Until(began.Add(outage * time.Duration(n) / 3)))
		server.kill()
		server = startProcess(t, dir)
		tap.target.Store(&server.addr)
	}
	time.Sleep(time.Until(began.Add(outage)))
	if _, took := a.counts(); took != 0 {
		t.Fatalf("%d uploads were taken while the app was down", took)
	}
	a.mu.Lock()
	a.down = false
	a.mu.Unlock()
	back := time.Now()
	until(t, "every delivery", time.Minute, func() bool { _, took := a.counts(); return took == uploads })
	t.Logf("the app was down for %v; %v after it came back it had every upload", outage, time.Since(back).Round(time.Millisecond))
	staying.Wait()
	for i := 1; i < uploads; i += 2 {
		if err := upload(ctx, i); err != nil {
			t.Errorf("who comes back for upload %d: %v", i, err)
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for i, id := range ids {
		key := `"` + string(id) + `"`
		if n := a.took[key]; n != 1 {
			t.Errorf("upload %d was delivered %d times with success", i, n)
		}
		if !bytes.Equal(a.contents[key], bytes.Repeat([]byte{byte(i + 1)}, 10_000+i)) {
			t.Errorf("upload %d arrived damaged", i)
		}
	}
}

// The server dies between the app's success and the record of it: the app is
// asked again, and can tell by the key.
func TestADeliveryThatIsRepeatedHasTheSameKey(t *testing.T) {
	a := newApp()
	behind := httptest.NewServer(a)
	defer behind.Close()
	t.Setenv(serveApp, behind.URL)
	dir := serverDir(t)
	server := startProcess(t, dir)
	defer func() { server.kill() }()
	a.onTake = func() { server.kill() }
	id := resume.NewID()
	src := &client.Source{ReaderAt: bytes.NewReader([]byte("data")), Size: 4, ID: string(id)}
	_, err := client.Upload(t.Context(), "ws://"+server.addr+"/upload/", src, client.Options{Retry: client.Retry{MaxTries: 1}})
	if err == nil {
		t.Fatal("the client heard of a success that the server cannot have recorded")
	}
	server = startProcess(t, dir)
	until(t, "the second delivery", 30*time.Second, func() bool { a.mu.Lock(); defer a.mu.Unlock(); return a.took[`"`+string(id)+`"`] == 2 })
	if asked, _ := a.counts(); asked != 1 {
		t.Errorf("the app saw %d keys for one upload", asked)
	}
	if _, err := client.Upload(t.Context(), "ws://"+server.addr+"/upload/", src, client.Options{}); err != nil {
		t.Error(err)
	}
	if n := a.took[`"`+string(id)+`"`]; n != 2 {
		t.Errorf("the app was asked %d times, expected once before the crash and once after", n)
	}
}
