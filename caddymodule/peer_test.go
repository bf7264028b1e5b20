package caddymodule_test

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/middleware/protocol/protocoltest"
	"github.com/wsingest/wsingest/resume"
	"github.com/wsingest/wsingest/resume/client"
)

type peer = protocoltest.Peer

func dial(t testing.TB, url string, header http.Header, protocols ...string) *peer {
	t.Helper()
	// A connection that meets a Caddy in the middle of a reload may be closed
	// before it is answered: like any client, try again.
	var ws *websocket.Conn
	within(t, 10*time.Second, "the server to take a connection", func() bool {
		var resp *http.Response
		var err error
		ws, resp, err = websocket.Dial(deadline(t), url, &websocket.DialOptions{Subprotocols: protocols, HTTPHeader: header})
		if err != nil && resp != nil {
			t.Fatalf("dial: %v", err)
		}
		return err == nil
	})
	return protocoltest.New(t, ws)
}

func next[T protocol.Message](p *peer) T {
	p.T.Helper()
	return protocoltest.Next[T](p)
}

func open(id resume.ID, length int64) *protocol.Open {
	return &protocol.Open{ID: string(id), Name: "a.bin", Length: &length}
}

// slowly is a file of which no more than rate bytes a second can be read.
func slowly(t testing.TB, path string, rate int64) *client.Source {
	t.Helper()
	src, err := client.OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { src.Close() })
	src.ReaderAt = &slowReader{ReaderAt: src.ReaderAt, rate: rate, begun: time.Now()}
	return src
}

type slowReader struct {
	io.ReaderAt
	rate  int64
	begun time.Time

	pauseAt int64 // a position; 0: none
	pause   time.Duration
	paused  sync.Once
}

func (r *slowReader) ReadAt(p []byte, off int64) (int, error) {
	due := r.begun.Add(time.Duration(float64(off) / float64(r.rate) * float64(time.Second)))
	time.Sleep(time.Until(due))
	if r.pauseAt > 0 && off >= r.pauseAt {
		r.paused.Do(func() { time.Sleep(r.pause) })
	}
	return r.ReaderAt.ReadAt(p, off)
}

func sum(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

// plainPut is a stock WebSocket client, which knows nothing but to send: the
// Python package websockets.
func plainPut(t testing.TB, url, path string, bytesPerSecond int64) *exec.Cmd {
	t.Helper()
	script, err := filepath.Abs("testdata/plain.py")
	if err != nil {
		t.Fatal(err)
	}
	return exec.Command(python(), script, url, path, strconv.FormatInt(bytesPerSecond, 10))
}
