package filestore

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/wsingest/wsingest/resume"
)

// A segment that could not be written to, nor removed, may have what nobody was
// told of. It goes before those that say otherwise do.
func TestASegmentThatCannotBeDiscardedBringsNothingBack(t *testing.T) {
	inBubble(t, func(b *bench) {
		const segment = 8 << 10
		j := b.withJournal(segment)
		b.complete("first")
		j.active = nil // the next needs a segment too
		second := segmentName(2)
		syncs, broken := 0, true
		b.fs.Fail = func(op, path string) error {
			if !broken || filepath.Base(path) != second {
				return nil
			}
			if op == "sync" {
				if syncs++; syncs == 1 { // of its header
					return nil
				}
				return syscall.EIO
			}
			if op == "remove" {
				return syscall.EIO
			}
			return nil
		}
		id := resume.NewID()
		c := b.claim(id, 9)
		b.write(c, "abc")
		b.complain(c.Sync(b.ctx))
		broken = false
		if b.there(id) {
			b.Fatal("nobody was told of it, and it is there")
		}
		for n := 0; b.holds(j, segmentName(3)); n++ {
			if n == 1000 {
				b.Fatal("the segment after it stays")
			}
			b.must(b.store.Delete(b.ctx, b.complete(strings.Repeat("x", 1000))))
		}
		b.reopen(segment)
		if b.there(id) {
			b.Fatal("it is back")
		}
	})
}

func (b *bench) holds(j *journal, name string) bool {
	b.Helper()
	_, err := b.fs.Stat(filepath.Join(j.dir, name))
	return err == nil
}
