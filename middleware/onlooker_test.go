package middleware_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"hash"
	"io"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wsingest/wsingest/resume"
	"github.com/wsingest/wsingest/resume/client"
)

// onlooker is somebody who uploads while others misbehave: a little at a time,
// until the test has him finish.
type onlooker struct {
	t       testing.TB
	id      resume.ID
	source  *steady
	durable atomic.Int64
	ended   chan error
	result  *client.Result
}

func (r *rig) onlooker() *onlooker {
	b := &onlooker{t: r.t, id: resume.NewID(), ended: make(chan error, 1)}
	b.source = &steady{end: make(chan struct{}), rand: rand.NewChaCha8([32]byte{7}), sum: sha256.New()}
	src := client.FromReader(b.source, client.UnknownSize)
	src.ID = string(b.id)
	src.OnProgress = func(p client.Progress) { b.durable.Store(p.Durable) }
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	r.t.Cleanup(cancel)
	go func() {
		var err error
		b.result, err = client.Upload(ctx, r.url+"?user=onlooker&from=192.0.2.1", src, client.Options{WantDigest: true})
		b.ended <- err
	}()
	b.goesOn()
	return b
}

// goesOn waits until more of his bytes are durable than are now.
func (b *onlooker) goesOn() {
	b.t.Helper()
	was := b.durable.Load()
	waitFor(b.t, func() bool { return b.durable.Load() > was })
}

// unharmed has him finish, and checks that what the server has is what he sent.
func (b *onlooker) unharmed() {
	b.t.Helper()
	b.goesOn()
	close(b.source.end)
	if err := <-b.ended; err != nil {
		b.t.Fatalf("the upload beside it failed: %v", err)
	}
	if want := b.source.sum.Sum(nil); b.result.Length != b.source.n || !bytes.Equal(b.result.SHA256, want) {
		b.t.Errorf("of the upload beside it %d bytes arrived (sha-256 %x), expected %d (%x)", b.result.Length, b.result.SHA256, b.source.n, want)
	}
}

// steady is a source of 1 KiB every 20 ms.
type steady struct {
	end  chan struct{}
	rand *rand.ChaCha8
	sum  hash.Hash
	n    int64
}

func (s *steady) Read(p []byte) (int, error) {
	select {
	case <-s.end:
		return 0, io.EOF
	case <-time.After(20 * time.Millisecond):
	}
	p = p[:min(len(p), 1<<10)]
	s.rand.Read(p)
	s.sum.Write(p)
	s.n += int64(len(p))
	return len(p), nil
}
