package caddymodule_test

import (
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/resume"
	"github.com/wsingest/wsingest/resume/client"
)

// TestReloadsDisturbNoUpload reloads every 200 ms while 8 clients send: 4 full
// ones, and 4 that are the Python package websockets.
func TestReloadsDisturbNoUpload(t *testing.T) {
	size, seconds := int64(12<<20), int64(6)
	if long {
		size, seconds = 128<<20, 30 // 1 GiB in all
	}
	// Idle connections to the app outlive the config they were made under by two
	// minutes (Caddy never closes those of a default transport): none, then.
	const app = "reverse_proxy %s {\n\t\ttransport http {\n\t\t\tkeepalive off\n\t\t}\n\t}\n}\n"
	for _, c := range []struct {
		name    string
		site    string // %d is another number with every reload
		unmoved bool   // the options of the route stay
	}{
		{"other parts of the config", "http://localhost:{{port}} {\n\theader X-Revision %d\n\tws_ingest /upload/*\n\t" + app, true},
		{"options of the route", "http://localhost:{{port}} {\n\tws_ingest /upload/* {\n\t\tmax_connections %d\n\t}\n\t" + app, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBackend(t)
			revision := 1000
			site := func() string {
				revision++
				return fmt.Sprintf(c.site, revision, b.addr())
			}
			s := startServer(t, site())
			s.mustLoad(site()) // so that what a first reload leaves is there already
			goroutines, files := s.goroutines(), s.openFiles()

			stop, stopped := make(chan struct{}), make(chan error, 1)
			reloads := 0
			go func() {
				for {
					select {
					case <-stop:
						stopped <- nil
						return
					case <-time.After(200 * time.Millisecond):
					}
					if err := s.load(site()); err != nil {
						stopped <- err
						return
					}
					reloads++
				}
			}()
			reconnects := sendAll(t, s, size, size/seconds)
			close(stop)
			if err := <-stopped; err != nil {
				t.Fatalf("reload: %v", err)
			}
			if reloads < 10 {
				t.Fatalf("only %d reloads happened meanwhile: the test proves nothing", reloads)
			}
			t.Logf("%d reloads, the full clients reconnected %d times", reloads, reconnects)

			checkArrivals(t, b, 8, size)
			switch {
			case c.unmoved && reconnects != 0:
				t.Errorf("the full clients reconnected %d times, though their route did not change", reconnects)
			case !c.unmoved && reconnects == 0:
				t.Error("no full client was sent to the new handler of its route")
			}
			within(t, 10*time.Second, "the connections to end", func() bool {
				return s.metric(`wsingest_connections{mode="full"}`)+s.metric(`wsingest_connections{mode="plain"}`) == 0
			})
			// What was in flight when the connection ended is sent again: the window.
			// At this rate it never grows beyond the one that a connection begins with.
			again := s.metric(`wsingest_received_bytes_total{mode="full"}`) - float64(4*size)
			if most := float64(reconnects * protocol.InitialWindow); again < 0 || again > most {
				t.Errorf("full clients sent %.0f bytes twice over %d reconnects, expected at most %.0f", again, reconnects, most)
			}
			t.Logf("%.0f bytes came twice", again)
			if n := s.metric(`wsingest_uploads_total{event="delivered"}`); n != 8 {
				t.Errorf("%v uploads were counted as delivered, expected 8: do counters survive a reload?", n)
			}
			s.checkLeft(goroutines, files)
		})
	}
}

// sendAll has 4 full clients and 4 plain ones send a file each, and returns how
// often the full ones reconnected.
func sendAll(t *testing.T, s *server, size, rate int64) (reconnects int) {
	path, _ := makeFile(t, size)
	url := "ws://localhost:" + s.port + "/upload/film.bin"
	var all sync.WaitGroup
	var mu sync.Mutex
	for range 4 {
		all.Go(func() {
			o := client.Options{WantDigest: true, Retry: client.Retry{GiveUpAfter: 30 * time.Second}}
			r, err := client.Upload(deadline(t), url, slowly(t, path, rate), o)
			if err != nil {
				t.Errorf("full client: %v", err)
				return
			}
			mu.Lock()
			reconnects += r.Reconnects
			mu.Unlock()
		})
		all.Go(func() {
			out, err := plainPut(t, url, path, rate).Output()
			if err != nil || !strings.Contains(string(out), `"type":"done"`) {
				t.Errorf("plain client: %v, heard %s\n%s", err, out, exitError(err))
			}
		})
	}
	all.Wait()
	return reconnects
}

// checkArrivals: the backend has n whole files.
func checkArrivals(t *testing.T, b *backend, n int, size int64) {
	t.Helper()
	_, digest := makeFile(t, size)
	seen := b.seen()
	if len(seen) != n {
		t.Errorf("the backend got %d requests, expected %d", len(seen), n)
	}
	for _, got := range seen {
		if got.digest != digest || got.read != size {
			t.Errorf("the backend got %d bytes with SHA-256 %s, expected %d with %s", got.read, got.digest, size, digest)
		}
	}
}

var total = regexp.MustCompile(`goroutine profile: total (\d+)`)

func (s *server) goroutines() int {
	s.t.Helper()
	_, body := get(s.t, "http://"+s.admin+"/debug/pprof/goroutine?debug=1")
	m := total.FindStringSubmatch(body)
	if m == nil {
		s.t.Fatalf("no goroutine profile: %.200s", body)
	}
	n, _ := strconv.Atoi(m[1])
	return n
}

// checkLeft: what the old configs had is gone, but for what comes and goes with
// connections of the test itself.
func (s *server) checkLeft(goroutines, files int) {
	s.t.Helper()
	http.DefaultClient.CloseIdleConnections()
	for until := time.Now().Add(10 * time.Second); s.goroutines() > goroutines+4 || s.openFiles() > files+2; time.Sleep(200 * time.Millisecond) {
		if time.Now().After(until) {
			_, profile := get(s.t, "http://"+s.admin+"/debug/pprof/goroutine?debug=1")
			s.t.Fatalf("%d goroutines and %d files are left, at first there were %d and %d\n%s",
				s.goroutines(), s.openFiles(), goroutines, files, profile)
		}
	}
}

func (s *server) openFiles() int {
	s.t.Helper()
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.cmd.Process.Pid))
	if err != nil {
		s.t.Fatal(err)
	}
	return len(list)
}

// TestAnUploadFinishesOnTheLiveApp: the connection is from before the reload,
// the app that takes the file is the one from after it.
func TestAnUploadFinishesOnTheLiveApp(t *testing.T) {
	before, after := newBackend(t), newBackend(t)
	s := startServer(t, twoLines(before))
	p := dial(t, "ws://localhost:"+s.port+"/upload/a.bin?x=1", nil, protocol.Subprotocol)
	p.Send(open(resume.NewID(), 4))
	next[*protocol.Ready](p)
	s.mustLoad(fmt.Sprintf("http://localhost:{{port}} {\n\trewrite /upload/* /taken{uri}\n\tws_ingest /taken/*\n\treverse_proxy %s\n}\n", after.addr()))
	p.Data([]byte("data"))
	p.Send(&protocol.Finish{})
	if done := next[*protocol.Done](p); done.Response.Status != http.StatusCreated {
		t.Errorf("the client heard %+v", done)
	}
	if n := len(before.seen()); n != 0 {
		t.Errorf("the app of the old config was asked %d times", n)
	}
	seen := after.seen()
	if len(seen) != 1 || seen[0].path != "/taken/upload/a.bin" || seen[0].query != "x=1" || seen[0].read != 4 || seen[0].method != http.MethodPost {
		t.Errorf("the app of the new config got %+v", seen)
	}
}

// TestAVanishedRouteKeepsItsUploads: nobody may take for delivered what went to
// a config that knows no uploads.
func TestAVanishedRouteKeepsItsUploads(t *testing.T) {
	b := newBackend(t)
	s := startServer(t, twoLines(b))
	url := "ws://localhost:" + s.port + "/upload/a.bin"
	id := resume.NewID()
	full := dial(t, url, nil, protocol.Subprotocol)
	full.Send(open(resume.NewID(), 4))
	next[*protocol.Ready](full)
	plain := dial(t, url+"?length=4&id="+string(id), nil)
	next[*protocol.Ready](plain)

	s.mustLoad("http://localhost:{{port}} {\n\trespond 200\n}\n")
	next[*protocol.Goaway](full)
	if status := full.Closed(); status != websocket.StatusServiceRestart {
		t.Errorf("the full client was closed with %d, expected 1012", status)
	}
	plain.Data([]byte("data"))
	within(t, 10*time.Second, "the upload to be refused by the new config", func() bool {
		return strings.Contains(s.log.String(), "a route that is gone after the reload")
	})

	s.mustLoad(twoLines(b)) // the route is back: the next attempt finds it
	next[*protocol.Done](plain)
	plain.Closed()
	again := dial(t, url, nil, protocol.Subprotocol)
	again.Send(open(id, 4))
	if ready := next[*protocol.Ready](again); !ready.Complete {
		t.Error("the upload was not kept")
	}
	next[*protocol.Done](again)
	if seen := b.seen(); len(seen) != 1 || seen[0].read != 4 {
		t.Errorf("the app got %+v", seen)
	}
}

// TestARefusedConfigChangesNothing: a reload that fails leaves uploads alone.
func TestARefusedConfigChangesNothing(t *testing.T) {
	b := newBackend(t)
	s := startServer(t, twoLines(b))
	p := dial(t, "ws://localhost:"+s.port+"/upload/a.bin", nil, protocol.Subprotocol)
	p.Send(open(resume.NewID(), 4))
	next[*protocol.Ready](p)
	for _, bad := range []string{
		"http://localhost:{{port}} {\n\tws_ingest {\n\t\tmemory 1KiB\n\t}\n}\n",
		"http://localhost:{{port}} {\n\tws_ingest /upload/*\n\treverse_proxy\n\troot * {$NOTHING}\n\tnonsense\n}\n",
		"http://localhost:{{port}} {\n\tws_ingest /upload/*\n\ttls {{dir}}/none.pem {{dir}}/none.key\n}\nhttps://localhost:{{port}} {\n}\n",
	} {
		if err := s.load(bad); err == nil {
			t.Errorf("this was loaded:\n%s", bad)
		}
	}
	p.Data([]byte("data"))
	p.Send(&protocol.Finish{})
	next[*protocol.Done](p)
}
