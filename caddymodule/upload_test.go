package caddymodule_test

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/wsingest/wsingest/resume/client"
)

// twoLines is the shortest Caddyfile that does something.
func twoLines(b *backend) string {
	return fmt.Sprintf("http://localhost:{{port}} {\n\tws_ingest /upload/*\n\treverse_proxy %s\n}\n", b.addr())
}

func TestABackendGetsAnOrdinaryRequest(t *testing.T) {
	b := newBackend(t)
	s := startServer(t, twoLines(b))
	path, digest := makeFile(t, 3<<20)
	r, err := put(deadline(t), "ws://localhost:"+s.port+"/upload/film?x=1", path, client.Options{WantDigest: true})
	if err != nil {
		t.Fatal(err)
	}
	if r.Response == nil || r.Response.Status != http.StatusCreated || r.Response.Body != "took 3145728" {
		t.Errorf("the client heard %+v, expected the backend's answer", r.Response)
	}
	seen := b.seen()
	if len(seen) != 1 {
		t.Fatalf("the backend got %d requests, expected 1", len(seen))
	}
	got := seen[0]
	if got.method != http.MethodPost || got.path != "/upload/film" || got.query != "x=1" || got.length != 3<<20 || got.digest != digest {
		t.Errorf("the backend got %+v", got)
	}
	for _, h := range []string{"Upgrade", "Sec-Websocket-Key", "Sec-Websocket-Protocol"} {
		if v := got.header.Get(h); v != "" {
			t.Errorf("the backend sees %s: %s", h, v)
		}
	}
	if !strings.HasPrefix(got.header.Get("Repr-Digest"), "sha-256=:") {
		t.Errorf("the backend sees the digest %q", got.header.Get("Repr-Digest"))
	}
	// What is no upload goes by.
	if status, body := get(t, "http://localhost:"+s.port+"/upload/film"); status != http.StatusCreated || body != "took 0" {
		t.Errorf("an ordinary request was answered %d %q", status, body)
	}
	if left, _ := os.ReadDir(s.dir + "/data/caddy/ws_ingest"); len(left) == 0 {
		t.Error("the default directory of uploads is not below Caddy's data directory")
	}
}
