package caddymodule_test

import (
	"bufio"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/resume"
	"github.com/wsingest/wsingest/resume/client"
)

// block returns the first code block of a language in README.md that speaks of
// something.
func block(t *testing.T, language, of string) string {
	t.Helper()
	b, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllStringSubmatch(string(b), -1) {
		if strings.Contains(m[1], of) {
			return m[1]
		}
	}
	t.Fatalf("README.md has no %s with %s", language, of)
	return ""
}

// TestAPauseBehindNginx: the client sends nothing for one and a half times
// nginx's timeouts, behind the configuration of the README.
func TestAPauseBehindNginx(t *testing.T) {
	timeout, pause, keepalive := "5s", 7500*time.Millisecond, "1s 4s"
	if long {
		timeout, pause, keepalive = "60s", 90*time.Second, "15s 60s"
	}
	b := newBackend(t)
	s := startServer(t, fmt.Sprintf("http://localhost:{{port}} {\n\tws_ingest /upload/* {\n\t\tkeepalive %s\n\t}\n\treverse_proxy %s\n}\n", keepalive, b.addr()))
	url := startNginx(t, strings.ReplaceAll(strings.ReplaceAll(block(t, "nginx", "proxy_pass"), "60s", timeout), "localhost:8080", "localhost:"+s.port))
	file, _ := makeFile(t, 8<<20)

	plain := plainPut(t, url, file, 16<<20)
	plain.Args = append(plain.Args, fmt.Sprint(pause.Seconds()))
	type heard struct {
		out []byte
		err error
	}
	plainDone := make(chan heard, 1)
	go func() {
		out, err := plain.Output()
		plainDone <- heard{out, err}
	}()

	src := slowly(t, file, 16<<20)
	src.ReaderAt.(*slowReader).pauseAt, src.ReaderAt.(*slowReader).pause = 4<<20, pause
	began := time.Now()
	r, err := client.Upload(deadline(t), url, src, client.Options{WantDigest: true})
	if err != nil {
		t.Errorf("full client: %v", err)
	} else {
		t.Logf("full client: %v, %d reconnects", time.Since(began).Round(time.Second), r.Reconnects)
	}
	if took := time.Since(began); took < pause {
		t.Errorf("the upload took %v: there was no pause of %v", took, pause)
	}
	if h := <-plainDone; h.err != nil || !strings.Contains(string(h.out), `"type":"done"`) {
		t.Errorf("plain client: %v, heard %s\n%s", h.err, h.out, exitError(h.err))
	}
	checkArrivals(t, b, 2, 8<<20)
}

// startNginx runs Debian's nginx with a location, and returns the URL of it.
func startNginx(t *testing.T, location string) (url string) {
	t.Helper()
	nginx, err := exec.LookPath("nginx")
	if err != nil {
		nginx = "/usr/sbin/nginx" // not in everybody's PATH
	}
	dir, port := t.TempDir(), freePorts(t, 1)[0]
	config := fmt.Sprintf(`daemon off;
master_process off;
pid %[1]s/pid;
error_log stderr;
events {}
http {
	access_log off;
	client_body_temp_path %[1]s;
	proxy_temp_path %[1]s;
	fastcgi_temp_path %[1]s;
	uwsgi_temp_path %[1]s;
	scgi_temp_path %[1]s;
	server {
		listen 127.0.0.1:%[2]s;
%[3]s
	}
}
`, dir, port, location)
	path := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(path, []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(nginx, "-c", path, "-e", "stderr")
	said := new(syncBuffer)
	cmd.Stderr = said
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v: make test installs it", err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Logf("nginx: %s", said)
		}
	})
	within(t, 10*time.Second, "nginx", func() bool {
		conn, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	return "ws://localhost:" + port + "/upload/film.bin" // the name that Caddy's site has
}

// TestACaddyInFrontThatReloadsInMidFrame: without stream_close_delay it writes
// bytes of its own into the frame that it cuts off. None of them may become
// part of the file.
func TestACaddyInFrontThatReloadsInMidFrame(t *testing.T) {
	b := newBackend(t)
	s := startServer(t, twoLines(b))
	site := func(revision int) string {
		return fmt.Sprintf("http://localhost:{{port}} {\n\theader X-Revision %d\n\treverse_proxy localhost:%s\n}\n", revision, s.port)
	}
	front := startServer(t, site(1))
	const frame = 60 << 10 // four of them are within the initial window
	data := make([]byte, 4*frame)
	rand.NewChaCha8([32]byte{2}).Read(data)
	id, length := resume.NewID(), int64(len(data))

	raw := dialRaw(t, front.port)
	raw.frame(1, protocol.Encode(open(id, length)), -1)
	within(t, 10*time.Second, "the upload", func() bool { return len(s.uploads()) == 1 })
	raw.frame(2, data[:frame], -1)
	within(t, 10*time.Second, "the first frame", func() bool { return s.uploads()[0].Received == frame })
	raw.frame(2, data[frame:2*frame], frame/2) // the other half never comes
	front.mustLoad(site(2))
	raw.ended()
	within(t, 10*time.Second, "the connection to end", func() bool { return len(s.uploads()[0].Connections) == 0 })

	p := dial(t, "ws://localhost:"+front.port+"/upload/film.bin", nil, protocol.Subprotocol)
	p.Send(open(id, length))
	ready := next[*protocol.Ready](p)
	if ready.Cursor != frame {
		t.Errorf("the upload goes on at %d, expected %d: of a torn frame nothing counts", ready.Cursor, frame)
	}
	p.Data(data[ready.Cursor : 3*frame])
	p.Data(data[3*frame:])
	p.Send(&protocol.Finish{})
	next[*protocol.Done](p)
	if seen := b.seen(); len(seen) != 1 || seen[0].digest != sum(data) {
		t.Errorf("the app got %+v, expected SHA-256 %s", seen, sum(data))
	}
}

// TestACaddyInFrontThatWaits: with the README's stream_close_delay its reloads
// are not noticed.
func TestACaddyInFrontThatWaits(t *testing.T) {
	b := newBackend(t)
	s := startServer(t, twoLines(b))
	site := strings.NewReplacer("example.com", "http://localhost:{{port}}", "localhost:8080", "localhost:"+s.port).
		Replace(block(t, "caddyfile", "stream_close_delay"))
	front := startServer(t, site)
	file, _ := makeFile(t, 8<<20)
	reloads := make(chan error, 1)
	go func() {
		var errs []error
		for i := range 5 {
			time.Sleep(300 * time.Millisecond)
			errs = append(errs, front.load(fmt.Sprintf("%s# %d\n", site, i)))
		}
		reloads <- errors.Join(errs...)
	}()
	r, err := client.Upload(deadline(t), "ws://localhost:"+front.port+"/upload/film.bin", slowly(t, file, 4<<20), client.Options{WantDigest: true})
	if err != nil || r.Reconnects != 0 {
		t.Errorf("%+v, %v: expected an upload on one connection", r, err)
	}
	if err := <-reloads; err != nil {
		t.Errorf("reload: %v", err)
	}
	checkArrivals(t, b, 1, 8<<20)
}

// rawPeer writes frames byte by byte, also halves of them.
type rawPeer struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
}

func dialRaw(t *testing.T, port string) *rawPeer {
	t.Helper()
	conn, err := net.Dial("tcp", "localhost:"+port)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	req, _ := http.NewRequest(http.MethodGet, "http://localhost:"+port+"/upload/film.bin", nil)
	for k, v := range map[string]string{"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
		"Sec-WebSocket-Key": base64.StdEncoding.EncodeToString(make([]byte, 16)), "Sec-WebSocket-Protocol": protocol.Subprotocol} {
		req.Header.Set(k, v)
	}
	if err := req.Write(conn); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, req)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("upgrade: %v, %v", resp, err)
	}
	return &rawPeer{t, conn, r}
}

// frame writes one with an opcode (RFC 6455, section 5.2), or, where cut is not
// negative, only the first cut bytes of its payload. The mask is all zeroes.
func (p *rawPeer) frame(opcode byte, payload []byte, cut int) {
	p.t.Helper()
	b := binary.BigEndian.AppendUint64([]byte{0x80 | opcode, 0x80 | 127}, uint64(len(payload)))
	b = append(b, 0, 0, 0, 0)
	if cut < 0 {
		cut = len(payload)
	}
	if _, err := p.conn.Write(append(b, payload[:cut]...)); err != nil {
		p.t.Fatal(err)
	}
}

// ended reads until the connection is closed.
func (p *rawPeer) ended() {
	p.t.Helper()
	p.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	for {
		if _, err := p.r.Discard(1); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				p.t.Fatal("the connection was not cut: the test proves nothing")
			}
			return
		}
	}
}
