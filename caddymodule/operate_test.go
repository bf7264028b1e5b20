package caddymodule_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/wsingest/wsingest/middleware"
	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/resume"
)

// send sends 4 bytes as one upload, to its end.
func send(t *testing.T, url string, name string) resume.ID {
	t.Helper()
	id := resume.NewID()
	p := dial(t, url, nil, protocol.Subprotocol)
	o := open(id, 4)
	o.Name, o.Type, o.Metadata = name, "text/plain", map[string]string{"album": "7"}
	p.Send(o)
	next[*protocol.Ready](p)
	p.Data([]byte("data"))
	p.Send(&protocol.Finish{})
	next[*protocol.Done](p)
	p.WS.CloseNow()
	return id
}

func TestNextHandlersSeeThePlaceholders(t *testing.T) {
	b := newBackend(t)
	s := startServer(t, fmt.Sprintf(`http://localhost:{{port}} {
	vars kept yes
	ws_ingest /upload/* {
		owner {http.request.header.X-User}
		sha256
	}
	reverse_proxy %s {
		header_up X-All "{ws_ingest.id} {ws_ingest.name} {ws_ingest.length} {ws_ingest.type} {ws_ingest.sha256} {ws_ingest.owner} {ws_ingest.metadata.album}"
		header_up X-Duration {ws_ingest.duration}
		header_up X-Request "{http.request.method} {http.request.header.Content-Length} {vars.kept} {http.request.orig_uri.path}"
	}
}
`, b.addr()))
	p := dial(t, "ws://localhost:"+s.port+"/upload/x", http.Header{"X-User": {"carol"}}, protocol.Subprotocol)
	// Two at a time on one connection do not see each other's.
	ids := []resume.ID{resume.NewID(), resume.NewID()}
	for i, id := range ids {
		o := open(id, 4)
		o.Name, o.Type, o.Metadata = fmt.Sprintf("%d.txt", i), "text/plain", map[string]string{"album": "7"}
		p.Send(o)
		next[*protocol.Ready](p)
		p.Data([]byte("data"))
		p.Send(&protocol.Finish{})
	}
	next[*protocol.Done](p)
	next[*protocol.Done](p)
	got := map[string]bool{}
	for _, r := range b.seen() {
		got[r.header.Get("X-All")] = true
		if v := r.header.Get("X-Request"); v != "POST 4 yes /upload/x" {
			t.Errorf("the request's own placeholders are %q", v)
		}
		if d, err := time.ParseDuration(r.header.Get("X-Duration")); err != nil || d < 0 {
			t.Errorf("the duration is %q", r.header.Get("X-Duration"))
		}
	}
	for i, id := range ids {
		want := fmt.Sprintf("%s %d.txt 4 text/plain 3a6eb0790f39ac87c94f3856b2dd2c5d110e6811602261a9a923d3bb23adc8b7 carol 7", id, i)
		if !got[want] {
			t.Errorf("no request had %q, but there were %v", want, got)
		}
	}
}

func TestWebhookIsCalled(t *testing.T) {
	var mu sync.Mutex
	var heard []middleware.WebhookBody
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var b middleware.WebhookBody
		json.NewDecoder(r.Body).Decode(&b)
		mu.Lock()
		defer mu.Unlock()
		if heard = append(heard, b); len(heard) == 1 {
			w.WriteHeader(http.StatusBadGateway)
		}
	}))
	defer hook.Close()
	s := startServer(t, fmt.Sprintf("http://localhost:{{port}} {\n\tws_ingest {\n\t\tdeliver file {{dir}}/in/{ws_ingest.name}\n\t\ton_complete webhook %s/hook\n\t}\n}\n", hook.URL))
	id := send(t, "ws://localhost:"+s.port, "a.txt")
	if len(heard) != 2 || heard[1].ID != string(id) || heard[1].Location != "a.txt" || heard[1].Length != 4 {
		t.Errorf("the webhook heard %+v, expected the upload twice: it had failed once", heard)
	}
}

// TestTheAdminAPIListsAndEndsUploads, in mid-transfer and across two sites.
func TestTheAdminAPIListsAndEndsUploads(t *testing.T) {
	b := newBackend(t)
	s := startServer(t, fmt.Sprintf(`http://localhost:{{port}} {
	ws_ingest /a/*
	ws_ingest /b/* {
		store file {{dir}}/other
	}
	reverse_proxy %s
}
`, b.addr()))
	if list := s.uploads(); len(list) != 0 {
		t.Fatalf("there are uploads: %+v", list)
	}
	var ids []resume.ID
	var peers []*peer
	for _, path := range []string{"/a/x", "/b/x"} {
		id := resume.NewID()
		p := dial(t, "ws://localhost:"+s.port+path, nil, protocol.Subprotocol)
		p.Send(open(id, 100))
		next[*protocol.Ready](p)
		p.Data(make([]byte, 60))
		for next[*protocol.Ack](p).Offset < 60 {
		}
		ids, peers = append(ids, id), append(peers, p)
	}
	list := s.uploads()
	if len(list) != 2 {
		t.Fatalf("%d uploads are listed, expected 2: %+v", len(list), list)
	}
	for _, u := range list {
		if u.Received != 60 || u.Durable != 60 || u.Phase != "receiving" || len(u.Connections) != 1 || u.Name != "a.bin" {
			t.Errorf("an upload is listed as %+v", u)
		}
	}
	peers[0].WS.CloseNow()
	within(t, 5*time.Second, "the connection to end", func() bool {
		_, body := get(t, "http://"+s.admin+"/ws_ingest/uploads/"+string(ids[0]))
		return strings.Contains(body, string(ids[0])) && !strings.Contains(body, `"remote"`)
	})
	for i, id := range ids {
		for _, want := range []int{http.StatusNoContent, http.StatusNotFound} {
			req, _ := http.NewRequest(http.MethodDelete, "http://"+s.admin+"/ws_ingest/uploads/"+string(id), nil)
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != want {
				t.Errorf("DELETE of upload %d: %s, expected %d", i, resp.Status, want)
			}
		}
	}
	if e := next[*protocol.Error](peers[1]); e.Code != protocol.NotFound {
		t.Errorf("the client whose upload was ended heard %s", protocol.Encode(e))
	}
	if list := s.uploads(); len(list) != 0 {
		t.Errorf("still there: %+v", list)
	}
	if status, _ := get(t, "http://"+s.admin+"/ws_ingest/uploads/nothing"); status != http.StatusNotFound {
		t.Errorf("GET of no upload: %d", status)
	}
}

// TestEveryHandlerIsCounted, over reloads too.
func TestEveryHandlerIsCounted(t *testing.T) {
	b := newBackend(t)
	site := fmt.Sprintf("http://localhost:{{port}} {\n\tws_ingest /a/*\n\tws_ingest /b/* {\n\t\tmax_size 1GiB\n\t}\n\treverse_proxy %s\n}\n", b.addr())
	s := startServer(t, site)
	send(t, "ws://localhost:"+s.port+"/a/x", "1")
	send(t, "ws://localhost:"+s.port+"/b/x", "2")
	s.mustLoad(site + "# changed\n")
	send(t, "ws://localhost:"+s.port+"/b/x", "3")
	within(t, 5*time.Second, "the counters", func() bool {
		return s.metric(`wsingest_received_bytes_total{mode="full"}`) == 12
	})
	for name, want := range map[string]float64{
		`wsingest_uploads_total{event="opened"}`:    3,
		`wsingest_uploads_total{event="completed"}`: 3,
		`wsingest_uploads_total{event="delivered"}`: 3,
		`wsingest_connections_total{mode="full"}`:   3,
		`wsingest_connections{mode="full"}`:         0,
		`wsingest_upload_size_bytes_count`:          3,
		`wsingest_delivery_seconds_count`:           3,

		`wsingest_delivery_attempts_total{outcome="taken"}`: 3,
		// Two engines, and none of them twice for the reload.
		`wsingest_memory_limit_bytes`: 2 * 256 << 20,
	} {
		if got := s.metric(name); got != want {
			t.Errorf("%s is %v, expected %v", name, got, want)
		}
	}
	for _, name := range []string{`wsingest_commit_seconds_count`, `wsingest_free_bytes{store="file:` + s.dir + `/data/caddy/ws_ingest"}`} {
		if s.metric(name) < 1 {
			t.Errorf("%s is not there", name)
		}
	}
}

func TestRefusedUpgradesReachHandleErrors(t *testing.T) {
	const site = "http://localhost:{{port}} {\n\tws_ingest /upload/*\n\t%s\n}\n"
	s := startServer(t, fmt.Sprintf(site, "respond 204"))
	refused := func() (*http.Response, string) {
		_, resp, err := websocket.Dial(deadline(t), "ws://localhost:"+s.port+"/upload/x", &websocket.DialOptions{HTTPHeader: http.Header{"Origin": {"https://elsewhere.example"}}})
		if err == nil {
			t.Fatal("a foreign page may upload")
		}
		if resp == nil {
			return &http.Response{Status: err.Error()}, ""
		}
		body, _ := io.ReadAll(resp.Body)
		return resp, string(body)
	}
	resp, body := refused()
	if resp.StatusCode != http.StatusForbidden || resp.Header.Get("Content-Type") != "application/problem+json" || !strings.Contains(body, "elsewhere.example") {
		t.Errorf("refused with %s %v %s", resp.Status, resp.Header, body)
	}
	s.mustLoad(fmt.Sprintf(site, "respond 204\n\thandle_errors {\n\t\trespond \"ours: {err.status_code} {err.message}\" {err.status_code}\n\t}"))
	// The configuration from before may answer for a moment more.
	within(t, 10*time.Second, "the answer of handle_errors", func() bool {
		resp, body = refused()
		return strings.HasPrefix(body, "ours:")
	})
	if resp.StatusCode != http.StatusForbidden || !strings.HasPrefix(body, "ours: 403 Pages of the origin") {
		t.Errorf("handle_errors answered %s %s", resp.Status, body)
	}
}

// TestConfigsThatCanNeverWork are refused when they are loaded, with a sentence
// that says why.
func TestConfigsThatCanNeverWork(t *testing.T) {
	s := startServer(t, "http://localhost:{{port}} {\n\trespond 204\n}\n")
	for _, c := range []struct{ name, site, why string }{
		{"h2 and h3 only", "# global: servers {\n# global: \tprotocols h2 h3\n# global: }\nhttps://localhost:{{port}} {\n\ttls internal\n\tws_ingest\n}\n", "a WebSocket is opened over HTTP/1.1; add h1"},
		{"too little memory", "http://localhost:{{port}} {\n\tws_ingest {\n\t\tmemory 1KiB\n\t}\n}\n", "at least 1048576"},
		{"keepalive too slow", "http://localhost:{{port}} {\n\tws_ingest {\n\t\tkeepalive 5m\n\t}\n}\n", "1s to 25s"},
		{"timeout too short", "http://localhost:{{port}} {\n\tws_ingest {\n\t\tkeepalive 15s 20s\n\t}\n}\n", "at least twice"},
		{"relative file", "http://localhost:{{port}} {\n\tws_ingest {\n\t\tdeliver file files/{ws_ingest.name}\n\t}\n}\n", "not an absolute path"},
		{"directory", "http://localhost:{{port}} {\n\tws_ingest {\n\t\tdeliver file {{dir}}/{ws_ingest.owner}/\n\t}\n}\n", "is a directory"},
		{"webhook", "http://localhost:{{port}} {\n\tws_ingest {\n\t\ton_complete webhook app.internal/hook\n\t}\n}\n", "an http or https URL"},
		{"store is a file", "http://localhost:{{port}} {\n\tws_ingest {\n\t\tstore file {{dir}}/Caddyfile\n\t}\n}\n", "not a directory"},
		{"sync too small", "http://localhost:{{port}} {\n\tws_ingest {\n\t\tsync 1KiB\n\t}\n}\n", "64 KiB"},
		{"origin", "http://localhost:{{port}} {\n\tws_ingest {\n\t\tallow_origin [a\n\t}\n}\n", "is no pattern"},
	} {
		err := s.load(c.site)
		if err == nil || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s: %v\nexpected it to say %q", c.name, err, c.why)
		}
	}
	// Where one listener can, it is loaded.
	s.mustLoad("# global: servers {\n# global: \tprotocols h1 h2\n# global: }\nhttp://localhost:{{port}} {\n\tws_ingest\n}\n")
}

// TestAStoreInUseIsWaitedFor: another Caddy on the directory, or caddy validate
// beside the one that runs, is no reason to fail.
func TestAStoreInUseIsWaitedFor(t *testing.T) {
	b := newBackend(t)
	site := fmt.Sprintf("http://localhost:{{port}} {\n\tws_ingest {\n\t\tstore file %s/shared\n\t}\n\treverse_proxy %s\n}\n", t.TempDir(), b.addr())
	first := startServer(t, site)
	validate := first.command("validate", "--config", first.dir+"/Caddyfile")
	if err := validate.Run(); err != nil {
		t.Errorf("caddy validate beside a running Caddy: %v", err)
	}
	second := startServer(t, site)
	_, resp, err := websocket.Dial(deadline(t), "ws://localhost:"+second.port, nil)
	if err == nil || resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("two Caddys took uploads into one directory (%v)", err)
	}
	first.terminate()
	send(t, "ws://localhost:"+second.port, "a.txt")
}
