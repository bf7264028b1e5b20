// Package s3test runs a real S3 server for tests: versitygw over a folder. It is
// a module of its own in testdata, so that nobody else links it.
package s3test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// What a server takes for its owner.
const (
	AccessKey = "wsingest"
	SecretKey = "wsingest-secret"
)

// Server is a server that is running, unless it was stopped.
type Server struct {
	Endpoint string // host and port

	dir     string
	program string
	output  *bytes.Buffer

	mu      sync.Mutex // a test may start it again beside what it does
	process *exec.Cmd
}

// program builds the server, or finds it in Go's build cache.
var program = sync.OnceValues(func() (string, error) {
	_, here, _, _ := runtime.Caller(0)
	dir := filepath.Join(filepath.Dir(here), "..", "testdata", "versitygw")
	cmd := exec.Command("go", "tool", "-C", dir, "-n", "versitygw")
	cmd.Env = append(os.Environ(), "GOFLAGS=", "GOOS=", "GOARCH=")
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("building versitygw: %w\n%s", err, errs.String())
	}
	return strings.TrimSpace(string(out)), nil
})

// Start runs a server on a port of the loopback interface. It ends with the
// test.
func Start(t testing.TB) *Server {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp(shared(), "wsingest-s3-")
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Endpoint: l.Addr().String(), dir: dir, program: path, output: new(bytes.Buffer)}
	l.Close()
	if err := s.Run(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Stop()
		os.RemoveAll(dir)
	})
	return s
}

// Run starts the server again after Stop, with what it had.
func (s *Server) Run() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.restore(); err != nil {
		return err
	}
	s.process = exec.Command(s.program, "--quiet", "--port", s.Endpoint, "--access", AccessKey, "--secret", SecretKey, "posix", s.dir)
	s.process.Stdout, s.process.Stderr = s.output, s.output
	s.process.Dir = s.dir
	if err := s.process.Start(); err != nil {
		return err
	}
	for begun := time.Now(); ; {
		c, err := net.DialTimeout("tcp", s.Endpoint, time.Second)
		if err == nil {
			return c.Close()
		}
		if time.Since(begun) > 30*time.Second {
			s.stop()
			return fmt.Errorf("versitygw does not listen: %w\n%s", err, s.output)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// restore gives back the multipart uploads that the server was completing when it
// was stopped. It sets their folders aside meanwhile, and versitygw 1.8.0 does
// not know them any more when it starts: a storage that keeps its promises does.
func (s *Server) restore() error {
	aside, err := filepath.Glob(filepath.Join(s.dir, "*", ".sgwtmp", "multipart", "*", "*.inprogress"))
	if err != nil {
		return err
	}
	for _, path := range aside {
		id, _, _ := strings.Cut(filepath.Base(path), ".")
		if err := os.Rename(path, filepath.Join(filepath.Dir(path), id)); err != nil {
			return err
		}
	}
	return nil
}

// Stop ends the server as a crash would.
func (s *Server) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stop()
}

func (s *Server) stop() {
	if s.process != nil {
		_ = s.process.Process.Kill()
		_ = s.process.Wait()
		s.process = nil
	}
}

// Client is one for the server, for looking behind a store's back.
func (s *Server) Client(t testing.TB) *minio.Client {
	t.Helper()
	c, err := minio.New(s.Endpoint, &minio.Options{
		Creds: credentials.NewStaticV4(AccessKey, SecretKey, ""), Region: "us-east-1",
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Bucket makes a bucket.
func (s *Server) Bucket(t testing.TB, name string) {
	t.Helper()
	if err := s.Client(t).MakeBucket(context.Background(), name, minio.MakeBucketOptions{}); err != nil {
		t.Fatal(err)
	}
}
