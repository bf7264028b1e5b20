package filestore

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wsingest/wsingest/resume"
	"github.com/wsingest/wsingest/resume/filestore/internal/strictfs"
)

// bench is a store on a strict file system, for a test inside a bubble of
// synctest, where waiting takes no time. Every upload of it has files of its
// own, unless a test says otherwise.
type bench struct {
	*testing.T
	fs    *strictfs.FS
	store *Store
	ctx   context.Context
}

func inBubble(t *testing.T, test func(b *bench)) {
	synctest.Test(t, func(t *testing.T) {
		b := &bench{T: t, fs: strictfs.New(), ctx: t.Context()}
		b.open(Options{ScanInterval: Never})
		test(b)
		if b.store != nil {
			if err := b.store.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		}
	})
}

// pass lets time go by, and all be done that was due in it: what is due at its
// end would else be going on.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (b *bench) open(o Options) {
	b.Helper()
	s, err := open(b.fs, crashDir, o)
	if err != nil {
		b.Fatal(err)
	}
	b.store = s.Filed()
}

func (b *bench) claim(id resume.ID, length int64) resume.Claim {
	b.Helper()
	c, err := b.store.Open(b.ctx, resume.OpenOptions{Info: resume.Info{ID: id, Length: length}})
	if err != nil {
		b.Fatal(err)
	}
	return c
}

func (b *bench) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func (b *bench) write(c resume.Claim, p string) {
	b.Helper()
	if n, err := c.Write([]byte(p)); n != len(p) || err != nil {
		b.Fatalf("Write: %d, %v", n, err)
	}
}

// failing makes one kind of operation on one kind of file fail while on.
type failing struct {
	mu         sync.Mutex
	op, suffix string
	err        error
}

func (f *failing) set(op, suffix string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.op, f.suffix, f.err = op, suffix, err
}

func (f *failing) hook(op, path string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil && op == f.op && strings.HasSuffix(path, f.suffix) {
		return f.err
	}
	return nil
}

func (b *bench) read(id resume.ID) string {
	b.Helper()
	p, err := b.fs.ReadFile(b.store.partPath(id))
	b.must(err)
	return string(p)
}

func (b *bench) onlyLock() {
	b.Helper()
	b.must(b.fs.List(crashDir, func(name string) bool {
		if name != lockName {
			b.Errorf("%s lies about", name)
		}
		return true
	}))
}
