package caddymodule_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// backend is an app that knows nothing of uploads: it takes a body.
type backend struct {
	*httptest.Server
	mu     sync.Mutex
	took   []taken
	answer func(w http.ResponseWriter, r *http.Request, t taken)
}

type taken struct {
	method, path, query, digest, kind, host string
	length, read                            int64
	header                                  http.Header
}

func newBackend(t testing.TB) *backend {
	b := new(backend)
	b.Server = httptest.NewServer(b)
	t.Cleanup(b.Close)
	return b
}

func (b *backend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := sha256.New()
	n, _ := io.Copy(h, r.Body)
	got := taken{r.Method, r.URL.Path, r.URL.RawQuery, hex.EncodeToString(h.Sum(nil)), r.Header.Get("Content-Type"), r.Host, r.ContentLength, n, r.Header.Clone()}
	b.mu.Lock()
	b.took = append(b.took, got)
	answer := b.answer
	b.mu.Unlock()
	if answer != nil {
		answer(w, r, got)
		return
	}
	w.Header().Set("Location", "/files/1")
	w.WriteHeader(http.StatusCreated)
	fmt.Fprintf(w, "took %d", n)
}

func (b *backend) seen() []taken {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]taken(nil), b.took...)
}

// addr is for reverse_proxy.
func (b *backend) addr() string { return strings.TrimPrefix(b.URL, "http://") }

// makeFile makes a file of n bytes that repeat nowhere, and returns its SHA-256.
func makeFile(t testing.TB, n int64) (path, digest string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "film.bin")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(io.MultiWriter(f, h), io.LimitReader(rand.NewChaCha8([32]byte{byte(n), byte(n >> 8), byte(n >> 16)}), n)); err != nil {
		t.Fatal(err)
	}
	return path, hex.EncodeToString(h.Sum(nil))
}
