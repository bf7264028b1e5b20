package caddymodule_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/middleware/ticket"
	"github.com/wsingest/wsingest/resume"
	"github.com/wsingest/wsingest/resume/client"
)

const (
	oldUploadKey = "the key that app and Caddy had before"
	newUploadKey = "the key that they go over to afterwards"
)

func mint(t *testing.T, key string, c ticket.Claims) string {
	t.Helper()
	c.Expires = time.Now().Add(time.Hour)
	s, err := ticket.Mint([]byte(key), c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// ticketSite is a site that publishes by the ticket's owner, and writes an
// access log, in which no ticket may stand.
const ticketSite = `http://localhost:{{port}} {
	log {
		output file {{dir}}/access.log
	}
	ws_ingest /upload/* {
		ticket_key %s
		deliver file {{dir}}/in/{ws_ingest.owner}/{ws_ingest.name}
	}
}
`

func TestTicketsDecideWhoUploadsWhat(t *testing.T) {
	s := newServer(t)
	s.env = []string{"OLD_KEY=" + oldUploadKey, "NEW_KEY=" + newUploadKey}
	s.start(fmt.Sprintf(ticketSite, "{env.OLD_KEY}"))
	url := "ws://localhost:" + s.port + "/upload/"
	send := func(key string, c ticket.Claims) *peer {
		p := dial(t, url, nil, protocol.Subprotocol)
		o := open(resume.NewID(), 4)
		o.Name, o.Ticket = "a.txt", mint(t, key, c)
		p.Send(o)
		return p
	}
	forbidden := func(p *peer) {
		t.Helper()
		if e := next[*protocol.Error](p); e.Code != protocol.Forbidden {
			t.Errorf("told %s, expected forbidden", protocol.Encode(e))
		}
	}
	runs := send(oldUploadKey, ticket.Claims{Owner: "alice"})
	next[*protocol.Ready](runs)
	forbidden(send(newUploadKey, ticket.Claims{Owner: "alice"}))
	forbidden(send(oldUploadKey, ticket.Claims{Route: "/avatars/"}))
	forbidden(send(oldUploadKey, ticket.Claims{Name: "b.txt"}))
	forbidden(send(oldUploadKey, ticket.Claims{Owner: "../eve"})) // no folder's name
	none := dial(t, url, nil, protocol.Subprotocol)
	none.Send(open(resume.NewID(), 4))
	forbidden(none)
	runs.Data([]byte("data"))
	runs.Send(&protocol.Finish{})
	if done := next[*protocol.Done](runs); done.Location != "alice/a.txt" {
		t.Errorf("it went to %q", done.Location)
	}

	// The key is changed in the three steps of the README.
	for _, step := range []struct {
		keys     string
		old, new bool
	}{{"{env.NEW_KEY} {env.OLD_KEY}", true, true}, {"{env.NEW_KEY}", false, true}} {
		s.mustLoad(fmt.Sprintf(ticketSite, step.keys))
		for key, good := range map[string]bool{oldUploadKey: step.old, newUploadKey: step.new} {
			if p := send(key, ticket.Claims{Owner: "bob"}); good {
				next[*protocol.Ready](p)
			} else {
				forbidden(p)
			}
		}
	}

	plain := dial(t, url+"b.txt?length=4", http.Header{"Authorization": {"Bearer " + mint(t, newUploadKey, ticket.Claims{Owner: "carol"})}})
	plain.Data([]byte("data"))
	next[*protocol.Ready](plain)
	next[*protocol.Done](plain)
	plain.Closed()
	path := filepath.Join(s.dir, "access.log")
	within(t, 10*time.Second, "the access log", func() bool {
		b, _ := os.ReadFile(path)
		return strings.Contains(string(b), "/upload/b.txt")
	})
	access, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for what, log := range map[string]string{"access log": string(access), "log": s.log.String()} {
		for _, secret := range []string{oldUploadKey, newUploadKey, "wst1."} {
			if strings.Contains(log, secret) {
				t.Errorf("%q stands in the %s", secret, what)
			}
		}
	}
}

// TestAKeyThatIsNoneIsRefused, without it being told, and the old config stays.
func TestAKeyThatIsNoneIsRefused(t *testing.T) {
	s := newServer(t)
	s.env = []string{"OLD_KEY=" + oldUploadKey, "EMPTY="}
	s.start(fmt.Sprintf(ticketSite, "{env.OLD_KEY}"))
	for key, want := range map[string]string{
		"{env.NOT_SET}":             "no value",
		"{env.EMPTY}":               "no value",
		"{env.OLD_KEY} {env.EMPTY}": "key 2",
		"hunter2":                   "at least 32",
		"{hunter2}":                 "no value",
	} {
		err := s.load(fmt.Sprintf(ticketSite, key))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error is %v, expected it to say %q, and no key", key, err, want)
		}
	}
	p := dial(t, "ws://localhost:"+s.port+"/upload/", nil, protocol.Subprotocol)
	p.Send(open(resume.NewID(), 4))
	if e := next[*protocol.Error](p); e.Code != protocol.Forbidden {
		t.Errorf("told %s", protocol.Encode(e))
	}
}

// TestAWrongFileEndsEarly: the client has sent a small part of it, and tries no
// more.
func TestAWrongFileEndsEarly(t *testing.T) {
	b := newBackend(t)
	s := startServer(t, fmt.Sprintf("http://localhost:{{port}} {\n\tws_ingest {\n\t\taccept_types image/* application/pdf\n\t}\n\treverse_proxy %s\n}\n", b.addr()))
	url := "ws://localhost:" + s.port + "/a.bin"
	wrong, _ := makeFile(t, 64<<20)
	for _, lanes := range []int{1, 3} {
		var sent int64
		src, err := client.OpenFile(wrong)
		if err != nil {
			t.Fatal(err)
		}
		src.OnProgress = func(p client.Progress) { sent = p.Sent }
		_, err = client.Upload(deadline(t), url, src, client.Options{Lanes: lanes})
		src.Close()
		if !errors.Is(err, client.ErrRejected) || !strings.Contains(err.Error(), "image/*, application/pdf") {
			t.Errorf("%d lanes: the error is %v, expected that it was rejected", lanes, err)
		}
		if sent > 32<<20 {
			t.Errorf("%d lanes: %d bytes were sent", lanes, sent)
		}
	}
	if list := s.uploads(); len(list) > 0 {
		t.Errorf("these linger: %+v", list)
	}
	right := filepath.Join(t.TempDir(), "a.pdf")
	if err := os.WriteFile(right, []byte("%PDF-1.7 and so on"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := put(deadline(t), url, right, client.Options{}); err != nil {
		t.Error(err)
	}
	if n := len(b.seen()); n != 1 {
		t.Errorf("the app got %d files", n)
	}
	if err := s.load("http://localhost:{{port}} {\n\tws_ingest {\n\t\taccept_types pictures\n\t}\n}\n"); err == nil || !strings.Contains(err.Error(), "pictures") {
		t.Errorf("a type that is none: %v", err)
	}
}
