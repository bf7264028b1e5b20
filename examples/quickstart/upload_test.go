package main

import (
	"context"
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"net/http"
	neturl "net/url"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/coder/websocket"

	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/middleware/protocol/protocoltest"
	"github.com/wsingest/wsingest/resume"
)

// content returns n bytes that look like nothing else.
func content(n int) []byte {
	p := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(n), byte(n >> 8)}).Read(p)
	return p
}

// expectFile compares a file with what it should hold.
func expectFile(t *testing.T, path string, want []byte) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Error(err)
		return
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err != nil {
		t.Fatal(err)
	}
	if [32]byte(h.Sum(nil)) != sha256.Sum256(want) {
		t.Errorf("%s: its %d bytes are not the %d that were sent", path, n, len(want))
	}
}

// raw speaks the protocol message by message.
type raw struct {
	*protocoltest.Peer
	ready *protocol.Ready
}

func dial(t *testing.T, url string) *raw {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	ws, _, err := websocket.Dial(ctx, url+"upload/", &websocket.DialOptions{Subprotocols: []string{protocol.Subprotocol}})
	if err != nil {
		t.Fatal(err)
	}
	return &raw{Peer: protocoltest.New(t, ws)}
}

func expect[T protocol.Message](r *raw) T {
	r.T.Helper()
	return protocoltest.Next[T](r.Peer)
}

func (r *raw) open(id, name string, length int) {
	r.T.Helper()
	r.Send(&protocol.Open{ID: id, Name: name, Length: new(int64(length))})
	r.ready = expect[*protocol.Ready](r)
}

// send sends what of p is not there, up to end.
func (r *raw) send(p []byte, end int64) {
	r.T.Helper()
	r.Stream(r.ready, p[r.ready.Cursor:end], 256<<10)
}

func (r *raw) upload(id, name string, p []byte) *protocol.Done {
	r.T.Helper()
	r.open(id, name, len(p))
	r.send(p, int64(len(p)))
	r.Send(&protocol.Finish{})
	return expect[*protocol.Done](r)
}

func TestUploadArrives(t *testing.T) {
	t.Parallel()
	p := start(t, t.TempDir())
	want := content(24 << 20)
	done := dial(t, p.url).upload(string(resume.NewID()), "movie.mkv", want)
	if done.Location != "movie.mkv" {
		t.Errorf("location %q", done.Location)
	}
	expectFile(t, p.published(done.Location), want)

	// The same name again: both stay.
	other := content(1000)
	done = dial(t, p.url).upload(string(resume.NewID()), "movie.mkv", other)
	if done.Location == "movie.mkv" {
		t.Errorf("location %q again", done.Location)
	}
	expectFile(t, p.published(done.Location), other)
	expectFile(t, p.published("movie.mkv"), want)
}

func TestUploadGoesOnAfterARestart(t *testing.T) {
	t.Parallel()
	dir, id, want := t.TempDir(), string(resume.NewID()), content(8<<20)
	p := start(t, dir)
	r := dial(t, p.url)
	r.open(id, "a.bin", len(want))
	r.send(want, 5<<20)
	p.cmd.Process.Signal(syscall.SIGTERM)
	bye := expect[*protocol.Goaway](r)
	if bye.Offset < r.Durable {
		t.Errorf("goaway at %d, but %d was durable before", bye.Offset, r.Durable)
	}
	r.WS.CloseNow()
	p.ended()

	p = start(t, dir)
	r = dial(t, p.url)
	done := r.upload(id, "a.bin", want)
	if r.ready.Offset < bye.Offset {
		t.Errorf("after the restart ready says %d, goaway had said %d", r.ready.Offset, bye.Offset)
	}
	expectFile(t, p.published(done.Location), want)
}

func TestTooLargeIsRefused(t *testing.T) {
	t.Parallel()
	p := start(t, t.TempDir(), "-max-size", "1MB")
	r := dial(t, p.url)
	r.Send(&protocol.Open{Name: "large", Length: new(int64(1_000_001))})
	if e := expect[*protocol.Error](r); e.Code != protocol.MaxSizeExceeded {
		t.Errorf("got %v", e)
	}
}

// What strangers upload is never a page of this site, whatever it is called.
func TestFilesAreDownloads(t *testing.T) {
	t.Parallel()
	p := start(t, t.TempDir())
	for _, name := range []string{
		"index.html",
		"../../../etc/passwd",
		`"><script>alert(1)</script>.html`,
		"javascript:alert(1)",
		"100% sure? #1 & more.txt",
		"grüße, 世界.svg",
		"line\r\nSet-Cookie: a=b",
	} {
		want := []byte("<script>alert(1)</script>" + name)
		done := dial(t, p.url).upload(string(resume.NewID()), name, want)
		if done.Location == "" || strings.ContainsAny(done.Location, "/\\\r\n") {
			t.Errorf("%q became %q", name, done.Location)
		}
		expectFile(t, p.published(done.Location), want)
		resp, body := get(t, p.url+"files/"+neturl.PathEscape(done.Location))
		if body != string(want) {
			t.Errorf("%q came back as %d %q", name, resp.StatusCode, body)
		}
		for key, value := range map[string]string{
			"Content-Disposition": "attachment", "X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox",
		} {
			if got := resp.Header.Get(key); !strings.Contains(got, value) {
				t.Errorf("%q: %s is %q", name, key, got)
			}
		}
	}
	// The store takes care of names, but others may put files here as well.
	if err := os.WriteFile(p.published(`<script>alert(1)<script> "&'.html`), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	resp, body := get(t, p.url+"files/")
	if strings.Contains(body, "<script") || !strings.Contains(body, "&lt;script&gt;") {
		t.Errorf("the list:\n%s", body)
	}
	if got := resp.Header.Get("Content-Security-Policy"); !strings.Contains(got, "default-src 'none'") {
		t.Errorf("the list has the policy %q", got)
	}
}

// The loop in README.md works as it stands there.
func TestReadmePython(t *testing.T) {
	t.Parallel()
	python := os.Getenv("WSINGEST_PYTHON")
	if python == "" {
		python = "/usr/bin/python3"
	}
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, code, _ := strings.Cut(string(readme), "```python\n")
	code, _, _ = strings.Cut(code, "```")
	p := start(t, t.TempDir())
	code = strings.ReplaceAll(code, "127.0.0.1:8080", p.addr())
	want := content(3 << 20)
	out, err := exec.Command(python, "-c", code, file(t, "video.mp4", want)).CombinedOutput()
	if err != nil || !strings.Contains(string(out), `"type":"done"`) {
		t.Errorf("%v: it needs the package python3-websockets (WSINGEST_PYTHON names another Python which has it)\n%s", err, out)
	}
	expectFile(t, p.published("video.mp4"), want)
}

func TestNothingElseIsServed(t *testing.T) {
	t.Parallel()
	p := start(t, t.TempDir())
	secret := p.dir + "/secret"
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(secret, p.published("link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(p.published("folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	for path, status := range map[string]int{
		"files/link":            http.StatusNotFound,
		"files/folder":          http.StatusNotFound,
		"files/..%2Fsecret":     http.StatusNotFound,
		"files/%2e%2e/incoming": http.StatusNotFound,
		"files/none":            http.StatusNotFound,
		"main.go":               http.StatusNotFound,
		"upload/":               http.StatusUpgradeRequired,
		"":                      http.StatusOK,
		"files/":                http.StatusOK,
	} {
		if resp, body := get(t, p.url+path); resp.StatusCode != status || strings.Contains(body, "secret") {
			t.Errorf("GET /%s: status %d, expected %d", path, resp.StatusCode, status)
		}
	}
}

func get(t *testing.T, url string) (*http.Response, string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}
