package caddymodule_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/coder/websocket"

	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/resume"
)

// users are alice (wonderland) and bob (builder).
const users = `basic_auth {
		alice $2a$04$aOi3P3xEH/kl0RA3B.Oqyu0.tkF2oYqpWC1nM26gsoekVwWHXkmfK
		bob $2a$04$0YDJclq.557n8IJ0iCU2j.ctpFlR/DxZHRITznUxk2qgI0dUXtvr.
	}`

func as(user, password string) http.Header {
	return http.Header{"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))}}
}

var alice, bob = as("alice", "wonderland"), as("bob", "builder")

func TestWithoutCredentialsThereIsNoUpgrade(t *testing.T) {
	b := newBackend(t)
	s := startServer(t, fmt.Sprintf("http://localhost:{{port}} {\n\t%s\n\tws_ingest /upload/*\n\treverse_proxy %s\n}\n", users, b.addr()))
	url := "ws://localhost:" + s.port + "/upload/a.bin"
	for name, header := range map[string]http.Header{"none": nil, "wrong": as("alice", "builder")} {
		_, resp, err := websocket.Dial(deadline(t), url, &websocket.DialOptions{HTTPHeader: header, Subprotocols: []string{protocol.Subprotocol}})
		if err == nil || resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("with %s credentials: %v, expected 401", name, err)
		}
	}
	p := dial(t, url, alice, protocol.Subprotocol)
	p.Send(open(resume.NewID(), 4))
	next[*protocol.Ready](p)
	p.Data([]byte("data"))
	p.Send(&protocol.Finish{})
	next[*protocol.Done](p)
	if len(b.seen()) != 1 {
		t.Errorf("alice's upload did not arrive")
	}
}

// TestAStrangerCannotTellWhetherAnUploadIsThere: bob can neither resume, see
// nor cancel what is alice's, and gets the same answer for what nobody has.
func TestAStrangerCannotTellWhetherAnUploadIsThere(t *testing.T) {
	b := newBackend(t)
	s := startServer(t, fmt.Sprintf("http://localhost:{{port}} {\n\t%s\n\tws_ingest /upload/*\n\treverse_proxy %s\n}\n", users, b.addr()))
	url := "ws://localhost:" + s.port + "/upload/a.bin"
	mine, finished := resume.NewID(), resume.NewID()
	p := dial(t, url, alice, protocol.Subprotocol)
	p.Send(open(finished, 4))
	next[*protocol.Ready](p)
	p.Data([]byte("data"))
	p.Send(&protocol.Finish{})
	next[*protocol.Done](p)
	p.Send(open(mine, 8))
	next[*protocol.Ready](p)
	p.Data([]byte("half"))

	answers := map[string]bool{}
	for _, id := range []resume.ID{mine, finished, resume.NewID()} {
		stranger := dial(t, url, bob, protocol.Subprotocol)
		stranger.Send(&protocol.Open{ID: string(id), Resume: true})
		e := next[*protocol.Error](stranger)
		e.ID = ""
		answers[fmt.Sprintf("%s %d", protocol.Encode(e), stranger.Closed())] = true
	}
	if len(answers) != 1 {
		t.Errorf("bob can tell uploads apart that are none of his business: %v", answers)
	}
	// He would say cancel behind an open; the open already fails.
	stranger := dial(t, url, bob, protocol.Subprotocol)
	stranger.Send(open(mine, 8))
	stranger.Send(&protocol.Cancel{})
	if e := next[*protocol.Error](stranger); e.Code != protocol.NotFound {
		t.Errorf("bob heard %s", protocol.Encode(e))
	}
	// And alice was not disturbed.
	p.Data([]byte("half"))
	p.Send(&protocol.Finish{})
	next[*protocol.Done](p)
}

func TestFilesAreDeliveredToFoldersOfTheirOwners(t *testing.T) {
	s := startServer(t, fmt.Sprintf(`http://localhost:{{port}} {
	%s
	ws_ingest /in/* {
		deliver file {{dir}}/incoming/{http.auth.user.id}/{ws_ingest.metadata.album}/{ws_ingest.name} {
			on_conflict fail
		}
	}
	file_server browse
}
`, users))
	url := "ws://localhost:" + s.port + "/in/"
	send := func(user http.Header, name, album string) *peer {
		p := dial(t, url, user, protocol.Subprotocol)
		o := open(resume.NewID(), 4)
		o.Name, o.Metadata = name, map[string]string{"album": album}
		p.Send(o)
		next[*protocol.Ready](p)
		p.Data([]byte("data"))
		p.Send(&protocol.Finish{})
		return p
	}
	for _, c := range []struct {
		user     http.Header
		name     string
		album    string
		location string
	}{
		{alice, "a.jpg", "summer", "alice/summer/a.jpg"},
		{bob, "a.jpg", "summer", "bob/summer/a.jpg"},
		{bob, "../../alice/b.jpg", "../../alice", "bob/alice/b.jpg"},
	} {
		if done := next[*protocol.Done](send(c.user, c.name, c.album)); done.Location != c.location {
			t.Errorf("%s went to %q, expected %q", c.name, done.Location, c.location)
		}
		if b, err := os.ReadFile(filepath.Join(s.dir, "incoming", c.location)); err != nil || string(b) != "data" {
			t.Errorf("%s holds %q (%v)", c.location, b, err)
		}
	}
	if e := next[*protocol.Error](send(alice, "a.jpg", "summer")); e.Code != protocol.Rejected {
		t.Errorf("a name that is taken: %s", protocol.Encode(e))
	}
}

// TestNoPlaceForNobody: without an owner there is no folder, which is said
// before a byte is sent.
func TestNoPlaceForNobody(t *testing.T) {
	s := startServer(t, "http://localhost:{{port}} {\n\tws_ingest {\n\t\tdeliver file {{dir}}/in/{http.request.header.X-User}/{ws_ingest.name}\n\t}\n}\n")
	for _, user := range []string{"", "../bob", "a/b", ".."} {
		p := dial(t, "ws://localhost:"+s.port, http.Header{"X-User": {user}}, protocol.Subprotocol)
		p.Send(open(resume.NewID(), 4))
		if e := next[*protocol.Error](p); e.Code != protocol.Forbidden {
			t.Errorf("user %q: %s, expected forbidden", user, protocol.Encode(e))
		}
	}
}
