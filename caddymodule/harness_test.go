package caddymodule_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wsingest/wsingest/resume/client"
)

// caddyBinary is Caddy with the module, built once for all tests.
var caddyBinary string

// long has tests use the sizes and times that the promises speak of; else they
// are scaled down.
var long = os.Getenv("WSINGEST_LONG") != ""

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "wsingest-caddy-")
	if err != nil {
		panic(err)
	}
	caddyBinary = filepath.Join(dir, "caddy")
	build := exec.Command("go", "build", "-o", caddyBinary, "../examples/caddy")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "building Caddy:", err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// server is a running Caddy, or one that was.
type server struct {
	t     testing.TB
	dir   string // its home
	admin string // host:port
	port  string // of the site
	env   []string
	cmd   *exec.Cmd
	log   *syncBuffer
	ended chan struct{}
}

// global is the block in front of every Caddyfile of a test. %s is the admin
// endpoint.
const global = `{
	admin %s
	skip_install_trust
	auto_https disable_redirects
	%s
}
`

// newServer prepares a Caddy without starting it. In Caddyfiles, {{port}} is
// its site's port and {{dir}} its home.
func newServer(t testing.TB) *server {
	t.Helper()
	ports := freePorts(t, 2)
	s := &server{t: t, dir: t.TempDir(), admin: "localhost:" + ports[0], port: ports[1], log: new(syncBuffer)}
	t.Cleanup(func() {
		s.kill()
		if t.Failed() {
			t.Logf("Caddy's log:\n%s", tail(s.log.String(), 60))
		}
	})
	return s
}

func startServer(t testing.TB, site string) *server {
	s := newServer(t)
	s.start(site)
	return s
}

// caddyfile fills in what a test's Caddyfile leaves open. A first line
// "# global: x" adds x to the global options.
func (s *server) caddyfile(site string) string {
	options := ""
	for line := range strings.Lines(site) {
		if o, ok := strings.CutPrefix(line, "# global: "); ok {
			options += o + "\t"
		}
	}
	return fmt.Sprintf(global, s.admin, options) + strings.NewReplacer("{{port}}", s.port, "{{dir}}", s.dir).Replace(site)
}

func (s *server) command(args ...string) *exec.Cmd {
	cmd := exec.Command(caddyBinary, args...)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "HOME="+s.dir, "XDG_DATA_HOME="+filepath.Join(s.dir, "data"), "XDG_CONFIG_HOME="+filepath.Join(s.dir, "config"))
	cmd.Env = append(cmd.Env, s.env...)
	cmd.Stdout, cmd.Stderr = s.log, s.log
	return cmd
}

// start runs Caddy and waits until it serves.
func (s *server) start(site string) {
	s.t.Helper()
	s.startAsIs(s.caddyfile(site))
}

func (s *server) startAsIs(config string) {
	s.t.Helper()
	path := filepath.Join(s.dir, "Caddyfile")
	if err := os.WriteFile(path, []byte(config), 0o644); err != nil {
		s.t.Fatal(err)
	}
	s.cmd = s.command("run", "--config", path)
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.ended = make(chan struct{})
	go func() {
		s.cmd.Wait()
		close(s.ended)
	}()
	within(s.t, 20*time.Second, "Caddy to serve", func() bool {
		select {
		case <-s.ended:
			s.t.Fatalf("Caddy ended:\n%s", tail(s.log.String(), 30))
		default:
		}
		conn, err := net.Dial("tcp", "localhost:"+s.port)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}

// load has Caddy load a config, as caddy reload --force does.
func (s *server) load(site string) error {
	req, _ := http.NewRequest(http.MethodPost, "http://"+s.admin+"/load", strings.NewReader(s.caddyfile(site)))
	req.Header.Set("Content-Type", "text/caddyfile")
	req.Header.Set("Cache-Control", "must-revalidate")
	req.Close = true // each load replaces the server that answers here
	status, body, err := ask(req)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("%d: %s", status, body)
	}
	return err
}

// ask sends a request to the admin API. Each load replaces the server there, and
// what had connected to the old one without being served yet hears nothing
// (net/http closes it once Shutdown has begun): it is asked again.
func ask(req *http.Request) (status int, body string, err error) {
	for range 20 {
		if req.GetBody != nil {
			req.Body, _ = req.GetBody()
		}
		var resp *http.Response
		if resp, err = http.DefaultClient.Do(req); err == nil {
			defer resp.Body.Close()
			b, err := io.ReadAll(resp.Body)
			return resp.StatusCode, string(b), err
		}
		if !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
			return 0, "", err
		}
		time.Sleep(20 * time.Millisecond)
	}
	return 0, "", err
}

func (s *server) mustLoad(site string) {
	s.t.Helper()
	if err := s.load(site); err != nil {
		s.t.Fatalf("reload: %v", err)
	}
}

// terminate is SIGTERM, and returns how long Caddy took to end.
func (s *server) terminate() time.Duration {
	s.t.Helper()
	began := time.Now()
	s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.ended:
	case <-time.After(30 * time.Second):
		s.t.Fatal("Caddy did not end within 30 s of SIGTERM")
	}
	return time.Since(began)
}

// kill is SIGKILL, if it runs.
func (s *server) kill() {
	if s.cmd == nil {
		return
	}
	s.cmd.Process.Kill()
	<-s.ended
}

// get asks the admin API, or what else listens on host.
func get(t testing.TB, url string) (status int, body string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	status, body, err = ask(req)
	if err != nil {
		t.Fatal(err)
	}
	return status, body
}

// adminUpload is what the tests read of an upload in the admin API.
type adminUpload struct {
	ID, Owner, Name, Phase string
	Received, Durable      int64
	Connections            []struct {
		Remote string
		Plain  bool
	}
}

func (s *server) uploads() (list []adminUpload) {
	s.t.Helper()
	_, body := get(s.t, "http://"+s.admin+"/ws_ingest/uploads")
	if err := json.Unmarshal([]byte(body), &list); err != nil {
		s.t.Fatalf("the admin API answered %q: %v", body, err)
	}
	return list
}

// metric returns the value of a line of /metrics, 0 when it is not there.
func (s *server) metric(name string) (value float64) {
	s.t.Helper()
	_, body := get(s.t, "http://"+s.admin+"/metrics")
	for line := range strings.Lines(body) {
		if v, ok := strings.CutPrefix(line, name+" "); ok {
			fmt.Sscan(v, &value)
		}
	}
	return value
}

// trusting returns the TLS config of a client that trusts the server's own CA.
func (s *server) trusting() *tls.Config {
	s.t.Helper()
	pool := x509.NewCertPool()
	within(s.t, 10*time.Second, "Caddy's CA", func() bool {
		pem, err := os.ReadFile(s.rootCA())
		return err == nil && pool.AppendCertsFromPEM(pem)
	})
	return &tls.Config{RootCAs: pool}
}

func (s *server) rootCA() string {
	return filepath.Join(s.dir, "data/caddy/pki/authorities/local/root.crt")
}

// put sends a file with the Go client, which comes back by itself.
func put(ctx context.Context, url, path string, o client.Options) (*client.Result, error) {
	o.Retry.MaxDelay = 2 * time.Second
	if o.Retry.GiveUpAfter == 0 {
		o.Retry.GiveUpAfter = 30 * time.Second
	}
	return client.UploadFile(ctx, url, path, o)
}

func deadline(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func within(t testing.TB, bound time.Duration, what string, done func() bool) {
	t.Helper()
	for until := time.Now().Add(bound); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("waited %v for %s", bound, what)
		}
	}
}
