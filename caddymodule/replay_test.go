package caddymodule_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/resume"
)

// abandon sends an upload whose delivery fails, and goes away.
func abandon(t *testing.T, url string, header http.Header, b *backend) resume.ID {
	t.Helper()
	before := len(b.seen())
	id := resume.NewID()
	p := dial(t, url, header, protocol.Subprotocol)
	p.Send(open(id, 4))
	next[*protocol.Ready](p)
	p.Data([]byte("data"))
	p.Send(&protocol.Finish{})
	within(t, 10*time.Second, "the app to be asked", func() bool { return len(b.seen()) > before })
	p.WS.CloseNow()
	return id
}

type undelivered struct {
	ID       resume.ID
	Attempts int
	Problem  string
	Dead     bool
}

func (s *server) undelivered() (list []undelivered) {
	s.t.Helper()
	_, body := get(s.t, "http://"+s.admin+"/ws_ingest/undelivered")
	if err := json.Unmarshal([]byte(body), &list); err != nil {
		s.t.Fatalf("the admin API answered %q: %v", body, err)
	}
	return list
}

func down(w http.ResponseWriter, _ *http.Request, _ taken) {
	w.WriteHeader(http.StatusServiceUnavailable)
}

// The upload is complete when Caddy is killed. After the restart it goes through
// the routes to the app, without its client, and another route's to a file.
func TestUndeliveredUploadsFindTheirWayAfterACrash(t *testing.T) {
	b := newBackend(t)
	b.answer = down
	site := fmt.Sprintf(`http://localhost:{{port}} {
	handle_path /api/* {
		ws_ingest {
			deliver next {
				keep_headers X-Tenant
				keep_query album
			}
		}
		reverse_proxy %[1]s
	}
	handle /files/* {
		ws_ingest {
			owner {http.request.header.X-Tenant}
			deliver %%s
		}
		reverse_proxy %[1]s
	}
}
`, b.addr())
	s := startServer(t, fmt.Sprintf(site, "next"))
	header := http.Header{"X-Tenant": {"7"}, "Authorization": {"Bearer secret"}}
	toApp := abandon(t, "ws://localhost:"+s.port+"/api/a.bin?album=3&token=secret", header, b)
	toFile := abandon(t, "ws://localhost:"+s.port+"/files/b.bin", header, b)
	s.kill()

	before := len(b.seen())
	b.mu.Lock()
	b.answer = nil
	b.mu.Unlock()
	s.start(fmt.Sprintf(site, "file {{dir}}/in/{ws_ingest.owner}/{ws_ingest.name}"))
	within(t, 20*time.Second, "both to be delivered", func() bool {
		delivered := 0
		for _, u := range s.uploads() {
			if u.Phase == string(resume.Delivered) && (u.ID == string(toApp) || u.ID == string(toFile)) {
				delivered++
			}
		}
		return delivered == 2 && len(s.undelivered()) == 0
	})
	seen := b.seen()[before:]
	if len(seen) != 1 {
		t.Fatalf("the app was asked %d times, expected once", len(seen))
	}
	got := seen[0]
	if got.method != "POST" || got.path != "/a.bin" || got.query != "album=3" || got.read != 4 ||
		got.header.Get("X-Tenant") != "7" || got.header.Get("Authorization") != "" || got.header.Get("Idempotency-Key") != `"`+string(toApp)+`"` {
		t.Errorf("the app got %+v", got)
	}
}

// What a route does not let through without credentials waits, is listed, and
// is delivered when somebody lets it pass and says so.
func TestDeadLettersAreListedAndTriedAgain(t *testing.T) {
	b := newBackend(t)
	b.answer = down
	site := "http://localhost:{{port}} {\n\tws_ingest\n\treverse_proxy " + b.addr() + "\n}\n"
	s := startServer(t, site)
	id := abandon(t, "ws://localhost:"+s.port+"/a.bin", nil, b)
	s.kill()
	b.mu.Lock()
	b.answer = func(w http.ResponseWriter, _ *http.Request, _ taken) { w.WriteHeader(http.StatusUnauthorized) }
	b.mu.Unlock()
	s.start(site)
	within(t, 20*time.Second, "the upload to be given up", func() bool {
		list := s.undelivered()
		return len(list) == 1 && list[0].Dead && list[0].ID == id && list[0].Attempts >= 1 && list[0].Problem != ""
	})
	b.mu.Lock()
	b.answer = nil
	b.mu.Unlock()
	for path, want := range map[string]int{"/ws_ingest/undelivered/" + string(resume.NewID()): 404, "/ws_ingest/undelivered/" + string(id): 202, "/ws_ingest/undelivered": 405} {
		req, _ := http.NewRequest(http.MethodPost, "http://"+s.admin+path, nil)
		if status, body, err := ask(req); err != nil || status != want {
			t.Errorf("POST %s: %d %s %v, expected %d", path, status, body, err, want)
		}
	}
	within(t, 20*time.Second, "the upload to be delivered", func() bool { return len(s.undelivered()) == 0 })
	if list := s.uploads(); len(list) != 1 || list[0].Phase != string(resume.Delivered) {
		t.Errorf("there are %+v", list)
	}
}

// An upload that needed a password to come in needs none to reach the app
// without its client, where the route asks clients alone; and the app, and the
// path of a file, learn whose it is as ever. Elsewhere it waits for its client,
// and no client passes for such an upload.
func TestAnUploadWithoutItsClientGetsPastTheLogin(t *testing.T) {
	b := newBackend(t)
	b.answer = down
	forClients := strings.Replace(users, "basic_auth", "@client not ws_ingest_redelivery\n\tbasic_auth @client", 1)
	site := fmt.Sprintf(`http://localhost:{{port}} {
	handle /app/* {
		%[1]s
		ws_ingest
		reverse_proxy %[3]s {
			header_up X-User {http.auth.user.id}
		}
	}
	handle /files/* {
		%[1]s
		ws_ingest {
			sha256
			deliver %%s
		}
		reverse_proxy %[3]s
	}
	handle /locked/* {
		%[2]s
		ws_ingest
		reverse_proxy %[3]s
	}
}
`, forClients, users, b.addr())
	s := startServer(t, fmt.Sprintf(site, "next"))
	url := "ws://localhost:" + s.port
	toApp := abandon(t, url+"/app/a.bin", alice, b)
	abandon(t, url+"/files/b.bin", bob, b)
	locked := abandon(t, url+"/locked/c.bin", alice, b)
	s.kill()

	before := len(b.seen())
	b.mu.Lock()
	b.answer = nil
	b.mu.Unlock()
	s.start(fmt.Sprintf(site, "file {{dir}}/in/{http.auth.user.id}/{ws_ingest.name}"))
	within(t, 20*time.Second, "two to be delivered, and the third not", func() bool {
		list := s.undelivered()
		return len(list) == 1 && list[0].ID == locked && list[0].Attempts > 0 && !list[0].Dead
	})
	seen := b.seen()[before:]
	if len(seen) != 1 || seen[0].header.Get("X-User") != "alice" || seen[0].header.Get("Authorization") != "" ||
		seen[0].header.Get("Idempotency-Key") != `"`+string(toApp)+`"` {
		t.Errorf("the app got %+v", seen)
	}
	if got, err := os.ReadFile(filepath.Join(s.dir, "in", "bob", "a.bin")); err != nil || string(got) != "data" {
		t.Errorf("bob's file has %q (%v)", got, err)
	}
	_, resp, err := websocket.Dial(deadline(t), url+"/app/a.bin", &websocket.DialOptions{Subprotocols: []string{protocol.Subprotocol}})
	if err == nil || resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("a client without a password: %v, expected 401", err)
	}
	p := dial(t, url+"/locked/c.bin", alice, protocol.Subprotocol)
	p.Send(open(locked, 4))
	next[*protocol.Ready](p)
	next[*protocol.Done](p)
}
