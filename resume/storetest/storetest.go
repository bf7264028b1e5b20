// Package storetest holds a [resume.Store] to what its interface promises.
//
// A store's own tests call [Run]; every subtest is named by the promise it
// holds. What a store does when the power goes cannot be tested from outside:
// that is up to the store's own tests.
package storetest

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/wsingest/wsingest/resume"
)

// Backend is the storage of one test.
type Backend struct {
	// Open opens the storage. What it returned before is closed by then; the
	// uploads in it are there again.
	Open func() (resume.Store, error)
	// PublishDir is a directory of the local file system for the tests of a
	// [resume.Publisher]. Empty: the store is not tested as one.
	PublishDir string
}

// Run runs the suite. newBackend returns an empty storage for each subtest.
func Run(t *testing.T, newBackend func(t *testing.T) Backend) {
	groups := []struct {
		name  string
		tests []promise
	}{
		{"Open", openPromises},
		{"Claim", claimPromises},
		{"Durability", durabilityPromises},
		{"Finish", finishPromises},
		{"Lanes", lanePromises},
		{"Life", lifePromises},
		{"Publish", publishPromises},
	}
	for _, g := range groups {
		t.Run(g.name, func(t *testing.T) {
			for _, p := range g.tests {
				t.Run(p.name, func(t *testing.T) {
					t.Parallel()
					b := newBackend(t)
					if g.name == "Publish" && b.PublishDir == "" {
						return
					}
					r := &rig{T: t, backend: b, ctx: patience(t)}
					r.open()
					t.Cleanup(r.close)
					p.test(r)
				})
			}
		})
	}
}

type promise struct {
	name string
	test func(r *rig)
}

// rig is one subtest's store.
type rig struct {
	*testing.T
	backend Backend
	store   resume.Store
	ctx     context.Context
}

// patience bounds what a test waits for. It is long, since nothing should ever
// take that long; a thousand openings in a bucket took half a minute on a busy
// machine.
func patience(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func (r *rig) open() {
	r.Helper()
	s, err := r.backend.Open()
	if err != nil {
		r.Fatalf("opening the store: %v", err)
	}
	r.store = s
}

func (r *rig) close() {
	r.Helper()
	if r.store == nil {
		return
	}
	if err := r.store.Close(); err != nil {
		r.Errorf("Close: %v", err)
	}
	r.store = nil
}

// reopen is a restart.
func (r *rig) reopen() {
	r.Helper()
	r.close()
	r.open()
}

// begin opens an upload of a length for writing all of it.
func (r *rig) begin(id resume.ID, length int64) resume.Claim {
	r.Helper()
	return r.must(resume.OpenOptions{Info: resume.Info{ID: id, Length: length}})
}

func (r *rig) must(o resume.OpenOptions) resume.Claim {
	r.Helper()
	c, err := r.store.Open(r.ctx, o)
	if err != nil {
		r.Fatalf("Open(%+v): %v", o, err)
	}
	return c
}

func (r *rig) lane(id resume.ID, length, start, end int64) resume.Claim {
	r.Helper()
	return r.must(resume.OpenOptions{
		Info:  resume.Info{ID: id, Length: length},
		Range: resume.Range{Start: start, End: end},
	})
}

func (r *rig) write(c resume.Claim, p []byte) {
	r.Helper()
	if n, err := c.Write(p); n != len(p) || err != nil {
		r.Fatalf("Write of %d bytes: %d, %v", len(p), n, err)
	}
}

// writeSum is write by one who knows the sum of p.
func (r *rig) writeSum(c resume.Claim, p []byte) {
	r.Helper()
	if n, err := resume.WriteSum(c, p, resume.UpdateCRC32C(0, p)); n != len(p) || err != nil {
		r.Fatalf("WriteSum of %d bytes: %d, %v", len(p), n, err)
	}
}

func (r *rig) sync(c resume.Claim) {
	r.Helper()
	if err := c.Sync(r.ctx); err != nil {
		r.Fatalf("Sync: %v", err)
	}
}

func (r *rig) finish(c resume.Claim) resume.State {
	r.Helper()
	st, err := c.Finish(r.ctx, resume.FinishOptions{Length: resume.UnknownLength})
	if err != nil {
		r.Fatalf("Finish: %v", err)
	}
	return st
}

func (r *rig) stat(id resume.ID) resume.State {
	r.Helper()
	st, err := r.store.Stat(r.ctx, id)
	if err != nil {
		r.Fatalf("Stat: %v", err)
	}
	return st
}

// complete makes a complete upload of content.
func (r *rig) complete(content []byte) resume.ID {
	r.Helper()
	id := resume.NewID()
	c := r.begin(id, int64(len(content)))
	r.write(c, content)
	r.finish(c)
	if err := c.Close(); err != nil {
		r.Fatalf("Close: %v", err)
	}
	return id
}

// content reads a complete upload.
func (r *rig) content(id resume.ID) []byte {
	r.Helper()
	f, err := r.store.Content(r.ctx, id)
	if err != nil {
		r.Fatalf("Content: %v", err)
	}
	defer f.Close()
	b := make([]byte, f.Size())
	if len(b) > 0 {
		if n, err := f.ReadAt(b, 0); n != len(b) {
			r.Fatalf("ReadAt: %d of %d bytes, %v", n, len(b), err)
		}
	}
	return b
}

func (r *rig) wantErr(what string, err, want error) {
	r.Helper()
	if !errors.Is(err, want) {
		r.Fatalf("%s: got error %v, want one that is %q", what, err, want)
	}
}

func (r *rig) equal(what string, got, want any) {
	r.Helper()
	if got != want {
		r.Fatalf("%s: got %v, want %v", what, got, want)
	}
}

// extents checks a set of bytes against the content they stand for.
func (r *rig) extents(what string, got resume.Extents, content []byte, want ...resume.Range) {
	r.Helper()
	if len(got) != len(want) {
		r.Fatalf("%s: got %v, want %v", what, got, want)
	}
	for i, e := range got {
		if e.Range != want[i] {
			r.Fatalf("%s: got %v, want %v", what, got, want)
		}
		if crc := resume.UpdateCRC32C(0, content[e.Start:e.End]); crc != e.CRC32C {
			r.Fatalf("%s: %v has checksum %08x, its content has %08x", what, e.Range, e.CRC32C, crc)
		}
	}
}

// until waits for cond, which something in the background makes true, and is
// told by notified when to look again.
func (r *rig) until(what string, notified <-chan struct{}, cond func() bool) {
	r.Helper()
	for !cond() {
		select {
		case <-notified:
		case <-r.ctx.Done():
			r.Fatalf("waited in vain until %s", what)
		}
	}
}

// notifier returns a Notify function and the channel it tells.
func notifier() (func(), <-chan struct{}) {
	told := make(chan struct{}, 1)
	return func() {
		select {
		case told <- struct{}{}:
		default:
		}
	}, told
}

// random returns n bytes that are the same for the same seed.
func random(seed uint64, n int) []byte {
	rng := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	b := make([]byte, n)
	_, _ = rng.Read(b)
	return b
}
