//go:build unix

package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wsingest/wsingest/middleware"
	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/resume"
	"github.com/wsingest/wsingest/resume/client"
	"github.com/wsingest/wsingest/resume/filestore"
)

// binary is the wsput that the tests run.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "wsput")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "wsput")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		panic(fmt.Sprintf("go build: %v\n%s", err, out))
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// app is a real server with an app that remembers what it was given.
type app struct {
	url, addr string
	store     *filestore.Store
	status    int

	mu     sync.Mutex
	bodies map[string][]byte // by SHA-256
}

func startApp(t *testing.T, status int) *app {
	store, err := filestore.New(t.TempDir(), filestore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ingest, err := middleware.New(store, middleware.Options{Routes: []string{"/upload/"}})
	if err != nil {
		t.Fatal(err)
	}
	a := &app{store: store, status: status, bodies: map[string][]byte{}}
	srv := httptest.NewServer(ingest.Wrap(a))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := ingest.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		srv.Close()
		store.Close()
	})
	a.addr = srv.Listener.Addr().String()
	a.url = "ws://" + a.addr + "/upload/"
	return a
}

func (a *app) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/upload/" {
		http.NotFound(w, r)
		return
	}
	body, _ := io.ReadAll(r.Body)
	a.mu.Lock()
	a.bodies[fmt.Sprintf("%x", sha256.Sum256(body))] = body
	a.mu.Unlock()
	w.Header().Set("Location", "/files/1")
	w.WriteHeader(a.status)
	fmt.Fprintf(w, "took %d bytes", len(body))
}

func (a *app) has(content []byte) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, ok := a.bodies[fmt.Sprintf("%x", sha256.Sum256(content))]
	return ok
}

// command is a run of wsput.
type command struct {
	*exec.Cmd
	stdout, stderr bytes.Buffer
}

func start(t *testing.T, stdin io.Reader, args ...string) *command {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	c := &command{Cmd: exec.CommandContext(ctx, binary, args...)}
	c.Stdin, c.Stdout, c.Stderr = stdin, &c.stdout, &c.stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	return c
}

// end waits for the exit and checks its code.
func (c *command) end(t *testing.T, code int) {
	t.Helper()
	err := c.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if got := c.ProcessState.ExitCode(); got != code {
		t.Errorf("exit code %d, expected %d\nstdout: %s\nstderr: %s", got, code, &c.stdout, &c.stderr)
	}
}

func file(t *testing.T, content []byte) string {
	path := filepath.Join(t.TempDir(), "file.bin")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

func TestUploadsFilesAndSaysSo(t *testing.T) {
	a := startApp(t, http.StatusCreated)
	one, two := random(300_000), random(3<<20)
	for _, lanes := range []string{"1", "2"} {
		c := start(t, nil, "-state-dir", t.TempDir(), "-lanes", lanes, "-digest", file(t, one), file(t, two), a.url)
		c.end(t, exitOK)
		for _, content := range [][]byte{one, two} {
			if !a.has(content) {
				t.Error("a file did not arrive")
			}
			if sum := fmt.Sprintf("%x  ", sha256.Sum256(content)); !strings.Contains(c.stdout.String(), sum) {
				t.Errorf("no %s in %s", sum, &c.stdout)
			}
		}
		if !strings.Contains(c.stdout.String(), "answered 201 took 300000 bytes") || c.stderr.Len() > 0 {
			t.Errorf("stdout: %s\nstderr: %s", &c.stdout, &c.stderr)
		}
	}
}

func TestJSONIsOneLinePerFile(t *testing.T) {
	a := startApp(t, http.StatusCreated)
	content := random(100_000)
	path := file(t, content)
	c := start(t, nil, "-json", "-digest", "-state-dir", t.TempDir(), path, filepath.Join(t.TempDir(), "absent"), a.url)
	c.end(t, exitFailed)
	lines := map[string]report{}
	for _, line := range strings.Split(strings.TrimSpace(c.stdout.String()), "\n") {
		var r report
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		lines[r.Name] = r
	}
	r := lines["file.bin"]
	if r.File != path || r.ID == "" || r.Bytes != 100_000 || r.SHA256 != fmt.Sprintf("%x", sha256.Sum256(content)) ||
		r.Status != 201 || r.Body != "took 100000 bytes" || r.Seconds <= 0 || r.Error != "" {
		t.Errorf("%+v", r)
	}
	if r := lines["absent"]; r.Error == "" || r.Resumable {
		t.Errorf("%+v", r)
	}
}

func TestStandardInput(t *testing.T) {
	a := startApp(t, http.StatusCreated)
	content := random(2 << 20)
	c := start(t, bytes.NewReader(content), "-quiet", "-name", "x.tar", "-", a.url)
	c.end(t, exitOK)
	if !a.has(content) || c.stdout.Len()+c.stderr.Len() > 0 {
		t.Errorf("stdout: %s\nstderr: %s", &c.stdout, &c.stderr)
	}
}

func TestAThousandSmallFilesAreQuick(t *testing.T) {
	a := startApp(t, http.StatusNoContent)
	dir := t.TempDir()
	args := []string{"-quiet", "-state-dir", t.TempDir()}
	for i := range 1000 {
		path := filepath.Join(dir, fmt.Sprint(i))
		if err := os.WriteFile(path, random(1024), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, path)
	}
	began := time.Now()
	start(t, nil, append(args, a.url)...).end(t, exitOK)
	t.Logf("it took %v", time.Since(began))
	if len(a.bodies) != 1000 {
		t.Errorf("%d files arrived", len(a.bodies))
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("it took %v", took)
	}
}

func TestFailuresHaveTheirExitCodes(t *testing.T) {
	a := startApp(t, http.StatusUnsupportedMediaType)
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	path := file(t, random(1000))
	for _, c := range []struct {
		code int
		args []string
	}{
		{exitOK, []string{"-help"}},
		{exitUsage, nil},
		{exitUsage, []string{path}},
		{exitUsage, []string{path, "example.org"}},
		{exitUsage, []string{path, "ftp://example.org"}},
		{exitUsage, []string{"-lanes", "17", path, a.url}},
		{exitUsage, []string{"-lanes", "0", path, a.url}},
		{exitUsage, []string{"-name", "x", path, path, a.url}},
		{exitUsage, []string{"-header", "nonsense", path, a.url}},
		{exitUsage, []string{"-cacert", path, path, a.url}},
		{exitFailed, []string{path + ".absent", a.url}},
		{exitFailed, []string{filepath.Dir(path), a.url}},
		{exitFailed, []string{path, strings.Replace(a.url, "/upload/", "/elsewhere/", 1)}},
		{exitFailed, []string{path, strings.Replace(a.url, "ws:", "wss:", 1)}},
		{exitRejected, []string{path, a.url}},
		{exitResumable, []string{"-retry", "50ms", path, "ws://" + gone.Addr().String()}},
		{exitFailed, []string{"-retry", "50ms", "-state-dir", "", path, "ws://" + gone.Addr().String()}},
	} {
		args := c.args
		if len(args) > 0 && args[0] != "-help" {
			args = append([]string{"-state-dir", t.TempDir()}, args...)
		}
		run := start(t, nil, args...)
		run.end(t, c.code)
		if c.code != exitOK && !strings.HasPrefix(run.stderr.String(), "wsput: ") {
			t.Errorf("%v: stderr %q", c.args, run.stderr.String())
		}
	}
}

func TestEveryErrorHasOneExitCode(t *testing.T) {
	id := string(resume.NewID())
	for _, c := range []struct {
		err        error
		remembered bool
		code       int
	}{
		{nil, true, exitOK},
		{context.Canceled, true, exitResumable},
		{context.Canceled, false, exitFailed},
		{fmt.Errorf("x: %w", client.ErrGaveUp), true, exitResumable},
		{fmt.Errorf("%w: %w", client.ErrGaveUp, &client.RefusedError{Status: 429}), true, exitResumable},
		{&client.RefusedError{Status: 403}, true, exitRejected},
		{&client.RefusedError{Status: 404}, true, exitFailed},
		{&protocol.Error{ID: id, Code: protocol.QuotaExceeded}, true, exitRejected},
		{fmt.Errorf("%w: %w", client.ErrGaveUp, &protocol.Error{ID: id, Code: protocol.QuotaExceeded, Resumable: true}), true, exitResumable},
		{&protocol.Error{ID: id, Code: protocol.BadMessage}, true, exitFailed},
		{client.ErrSourceChanged, true, exitChanged},
		{client.ErrDigestMismatch, true, exitDigest},
		{client.ErrSuperseded, true, exitSuperseded},
	} {
		if got := exitCode(c.err, c.remembered); got != c.code {
			t.Errorf("%v: exit code %d, expected %d", c.err, got, c.code)
		}
	}
	if got := worst([]int{0, exitResumable, exitChanged, exitFailed}); got != exitChanged {
		t.Errorf("worst is %d", got)
	}
}

func TestWhatWentWrongIsSaidOnce(t *testing.T) {
	rejected := &protocol.Error{Code: protocol.Rejected, Detail: "The app behind the server refused the file: 422 Unprocessable Entity."}
	for _, c := range []struct {
		report report
		err    error
		text   string
	}{
		{report{File: "a/b"}, fmt.Errorf("upload %q: %w", "b", context.Canceled), "a/b: interrupted"},
		{report{}, rejected, "rejected: The app behind the server refused the file: 422 Unprocessable Entity."},
		{report{Status: 422, Body: "too blurred\nby far\n"}, rejected,
			"rejected: The app behind the server refused the file: 422 Unprocessable Entity. It said: too blurred"},
	} {
		if got := c.report.complaint(c.err); got != c.text {
			t.Errorf("said %q, expected %q", got, c.text)
		}
	}
}
