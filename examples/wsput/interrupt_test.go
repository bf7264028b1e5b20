//go:build unix

package main

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// valve is a TCP proxy that lets so many bytes through and then none, until it
// is opened.
type valve struct {
	url  string
	open chan struct{}
}

func startValve(t *testing.T, a *app, bytes int64) *valve {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	v := &valve{url: "ws://" + l.Addr().String() + "/upload/", open: make(chan struct{})}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", a.addr)
			if err != nil {
				in.Close()
				continue
			}
			both := func() { in.Close(); out.Close() }
			all.Go(func() { defer both(); io.Copy(in, out) })
			all.Go(func() {
				defer both()
				if io.CopyN(out, in, bytes); true {
					<-v.open
				}
				io.Copy(out, in)
			})
		}
	})
	var once sync.Once
	t.Cleanup(func() { once.Do(v.release); l.Close(); all.Wait() })
	return v
}

func (v *valve) release() {
	select {
	case <-v.open:
	default:
		close(v.open)
	}
}

// untilDurable waits until the server has some bytes on its disk.
func (a *app) untilDurable(t *testing.T) {
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		for st, err := range a.store.All(context.Background()) {
			if err == nil && st.Durable.Size() > 0 {
				return
			}
		}
	}
	t.Fatal("nothing arrived")
}

func TestInterruptedRunIsGoneOnWith(t *testing.T) {
	for _, lanes := range []string{"1", "2"} {
		a := startApp(t, http.StatusCreated)
		v := startValve(t, a, 2<<20)
		content := random(20 << 20)
		args := []string{"-json", "-state-dir", t.TempDir(), "-lanes", lanes, file(t, content), v.url}
		c := start(t, nil, args...)
		a.untilDurable(t)
		c.Process.Signal(syscall.SIGINT)
		began := time.Now()
		c.end(t, exitResumable)
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("it took %v to leave", took)
		}
		if !strings.Contains(c.stderr.String(), "Run the same command again") {
			t.Errorf("stderr: %s", &c.stderr)
		}
		v.release()
		c = start(t, nil, args...)
		c.end(t, exitOK)
		var r report
		if err := json.Unmarshal(c.stdout.Bytes(), &r); err != nil || r.ResumedFrom == 0 || !a.has(content) {
			t.Errorf("%v, %+v", err, r)
		}
	}
}

func TestSecondInterruptKills(t *testing.T) {
	// A server that accepts and never answers: leaving in good order takes a
	// moment, killing does not.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	r, w := io.Pipe()
	defer w.Close()
	c := start(t, r, "-", "ws://"+l.Addr().String())
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c.Process.Signal(syscall.SIGINT)
	go func() { // the first may have been enough by now
		for c.Process.Signal(syscall.SIGINT) == nil {
			time.Sleep(time.Millisecond)
		}
	}()
	w.Close()
	began := time.Now()
	c.Wait()
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
}

func TestChangedFileHasItsExitCode(t *testing.T) {
	a := startApp(t, http.StatusCreated)
	v := startValve(t, a, 2<<20)
	content := random(20 << 20)
	path := file(t, content)
	args := []string{"-quiet", "-state-dir", t.TempDir(), path, v.url}
	c := start(t, nil, args...)
	a.untilDurable(t)
	c.Process.Signal(syscall.SIGINT)
	c.end(t, exitResumable)
	v.release()
	content[100_000] ^= 1
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, nil, args...).end(t, exitChanged)
	start(t, nil, args...).end(t, exitOK)
	if !a.has(content) {
		t.Error("the file as it is now did not arrive")
	}
}

func TestSecondRunTakesOver(t *testing.T) {
	a := startApp(t, http.StatusCreated)
	v := startValve(t, a, 2<<20)
	content := random(20 << 20)
	args := []string{"-quiet", "-state-dir", t.TempDir(), file(t, content), v.url}
	first := start(t, nil, args...)
	a.untilDurable(t)
	second := start(t, nil, args...)
	first.end(t, exitSuperseded)
	v.release()
	second.end(t, exitOK)
	if !a.has(content) {
		t.Error("the file did not arrive")
	}
}
