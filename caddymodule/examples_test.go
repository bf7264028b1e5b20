package caddymodule_test

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/middleware/ticket"
	"github.com/wsingest/wsingest/resume"
	"github.com/wsingest/wsingest/resume/client"
)

// TestTheExamplesRunAsTheyAre, with the app they speak to; only the ports and
// the directory are others.
func TestTheExamplesRunAsTheyAre(t *testing.T) {
	app := filepath.Join(t.TempDir(), "app")
	run(t, "..", nil, "go", "build", "-o", app, "./examples/caddy/app")
	file, digest := makeFile(t, 1<<20)
	tested := map[string]func(t *testing.T, url, files string, app *syncBuffer){
		"proxy": func(t *testing.T, url, files string, app *syncBuffer) {
			r, err := put(deadline(t), url, file, client.Options{})
			if err != nil || r.Response.Status != http.StatusCreated || r.Response.Body != "took 1048576 bytes, SHA-256 "+digest+"\n" {
				t.Errorf("%+v, %v", r, err)
			}
		},
		"users": func(t *testing.T, url, files string, app *syncBuffer) {
			if _, err := put(deadline(t), url, file, client.Options{Retry: client.Retry{MaxTries: 1}}); err == nil {
				t.Error("without a password the upload was taken")
			}
			for user, header := range map[string]http.Header{"alice": alice, "bob": bob} {
				r, err := put(deadline(t), url, file, client.Options{Header: header})
				if err != nil || r.Location != user+"/film.bin" {
					t.Errorf("%s: %+v, %v", user, r, err)
				}
				sameFile(t, filepath.Join(files, user, "film.bin"), file)
			}
			req, _ := http.NewRequest(http.MethodGet, strings.TrimSuffix(url, "upload/")+"film.bin", nil)
			req.Header = alice
			if resp, err := http.DefaultClient.Do(req); err != nil || resp.StatusCode != http.StatusOK || resp.ContentLength != 1<<20 {
				t.Errorf("alice cannot fetch what she sent: %v, %v", resp, err)
			}
		},
		"tickets": func(t *testing.T, url, files string, app *syncBuffer) {
			grant := mint(t, "this-key-is-public-make-another-one", ticket.Claims{MaxSize: 100})
			for _, c := range []struct {
				ticket, data string
				good         bool
			}{{grant, "%PDF-1.7", true}, {grant, "Hello, world!", false}, {"", "%PDF-1.7", false}} {
				src := client.FromReaderAt(strings.NewReader(c.data), int64(len(c.data)))
				src.Ticket = c.ticket
				if _, err := client.Upload(deadline(t), url, src, client.Options{}); (err == nil) != c.good {
					t.Errorf("%+v: %v", c, err)
				}
			}
		},
		"quota": func(t *testing.T, url, files string, app *syncBuffer) {
			user := http.Header{"X-User": {"carol"}}
			r, err := put(deadline(t), url, file, client.Options{Header: user})
			if err != nil || r.Location != r.ID+"-film.bin" {
				t.Errorf("%+v, %v", r, err)
				return
			}
			sameFile(t, filepath.Join(files, r.Location), file)
			within(t, 5*time.Second, "the webhook", func() bool {
				return strings.Contains(app.String(), `"sha-256":"`+digest+`"`) && strings.Contains(app.String(), `"owner":"carol"`)
			})
			for name, c := range map[string]struct {
				length int64
				code   protocol.Code
			}{"max_size": {1<<30 + 1, protocol.MaxSizeExceeded}, "quota": {1 << 30, protocol.QuotaExceeded}} {
				for range 2 { // the quota holds two
					p := dial(t, url, user, protocol.Subprotocol)
					p.Send(open(resume.NewID(), c.length))
					m, err := p.Recv()
					if e, ok := m.(*protocol.Error); name == "max_size" && (!ok || e.Code != c.code) {
						t.Errorf("%s: %s, %v", name, protocol.Encode(m), err)
					}
				}
				p := dial(t, url, user, protocol.Subprotocol)
				p.Send(open(resume.NewID(), c.length))
				if e := next[*protocol.Error](p); e.Code != c.code {
					t.Errorf("%s: %s", name, protocol.Encode(e))
				}
			}
		},
	}
	files, _ := filepath.Glob("../examples/caddy/*.Caddyfile")
	if len(files) != len(tested) {
		t.Errorf("there are %d Caddyfiles, and %d of them are tested", len(files), len(tested))
	}
	for _, path := range files {
		name := strings.TrimSuffix(filepath.Base(path), ".Caddyfile")
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			listen, folder := "localhost:"+freePorts(t, 1)[0], filepath.Join(s.dir, "files")
			said := startApp(t, app, listen)
			config, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			s.env = []string{"PORT=" + s.port, "ADMIN=" + s.admin, "APP=" + listen, "FILES=" + folder}
			s.startAsIs(string(config))
			check, ok := tested[name]
			if !ok {
				t.Fatal("nothing tests this Caddyfile")
			}
			check(t, "http://localhost:"+s.port+"/upload/", folder, said)
		})
	}
}

func startApp(t *testing.T, binary, listen string) (said *syncBuffer) {
	said = new(syncBuffer)
	cmd := exec.Command(binary, "-listen", listen)
	cmd.Stderr = said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	within(t, 10*time.Second, "the app", func() bool { return strings.Contains(said.String(), "listening") })
	return said
}

func sameFile(t *testing.T, got, want string) {
	t.Helper()
	a, err := os.ReadFile(got)
	b, _ := os.ReadFile(want)
	if err != nil || string(a) != string(b) {
		t.Errorf("%s is not what was sent (%d bytes, %v)", got, len(a), err)
	}
}
