package filestore

import (
	"errors"
	"math/rand/v2"
	"syscall"
	"testing"

	"github.com/wsingest/wsingest/resume"
	"github.com/wsingest/wsingest/resume/filestore/internal/strictfs"
)

// A start that fails does not take from the next one the knowledge that the
// process before it was killed: what is in the kernel's memory is not told of
// before it is durable.
func TestAStartThatFailsHidesNoKill(t *testing.T) {
	for _, op := range []string{"truncate", "write"} {
		inBubble(t, func(b *bench) {
			id := resume.NewID()
			var left []*strictfs.FS
			b.fs.After = func() { left = append(left, b.fs.Kill()) }
			c := b.claim(id, 3)
			b.write(c, "abc")
			b.must(c.Sync(b.ctx))
			b.fs.After = nil
			for _, fs := range left {
				var fault failing
				fs.Fail = fault.hook
				fault.set(op, lockName, syscall.ENOSPC)
				if _, err := open(fs, crashDir, Options{ScanInterval: Never}); !errors.Is(err, syscall.ENOSPC) {
					b.Fatalf("%s: %v", op, err)
				}
				fault.set("", "", nil)
				s, err := open(fs, crashDir, Options{ScanInterval: Never})
				b.must(err)
				if _, err := s.Stat(b.ctx, id); err == nil {
					for seed := range uint64(8) {
						if !b.has(fs.Cut(rand.New(rand.NewPCG(seed, 0))), id) {
							b.Fatalf("%s: it was told of and is gone", op)
						}
					}
				}
				b.must(s.Close())
			}
		})
	}
}
