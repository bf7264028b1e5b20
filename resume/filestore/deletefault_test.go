package filestore

import (
	"errors"
	"math/rand/v2"
	"syscall"
	"testing"

	"github.com/wsingest/wsingest/resume"
	"github.com/wsingest/wsingest/resume/filestore/internal/strictfs"
)

// Who was told that an upload is not there does not find it again, with the
// bytes of then, after a crash: neither when its deletion failed half way nor
// when the process was killed in it.
func TestADeletionIsDurableBeforeItIsToldOf(t *testing.T) {
	staysAway := func(b *bench, fs *strictfs.FS, s *Store, id resume.ID) {
		b.Helper()
		if _, err := s.Stat(b.ctx, id); !errors.Is(err, resume.ErrNotFound) {
			b.Fatalf("Stat: %v", err)
		}
		for seed := range uint64(20) {
			if b.has(fs.Cut(rand.New(rand.NewPCG(seed, 0))), id) {
				b.Fatal("it is back")
			}
		}
	}
	t.Run("failed", func(t *testing.T) {
		inBubble(t, func(b *bench) {
			var fault failing
			b.fs.Fail = fault.hook
			id := b.complete("abc")
			fault.set("syncdir", crashDir, syscall.EIO)
			b.complain(b.store.Delete(b.ctx, id))
			fault.set("", "", nil)
			staysAway(b, b.fs, b.store, id)
		})
	})
	t.Run("killed", func(t *testing.T) {
		inBubble(t, func(b *bench) {
			id := b.complete("abc")
			var left *strictfs.FS
			b.fs.After = func() {
				if left == nil {
					left = b.fs.Kill()
				}
			}
			b.must(b.store.Delete(b.ctx, id))
			b.fs.After = nil
			s, err := open(left, crashDir, Options{ScanInterval: Never})
			b.must(err)
			staysAway(b, left, s, id)
			b.must(s.Close())
		})
	})
}
