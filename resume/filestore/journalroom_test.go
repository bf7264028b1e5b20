package filestore

import (
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/wsingest/wsingest/resume"
	"github.com/wsingest/wsingest/resume/filestore/internal/strictfs"
	"github.com/wsingest/wsingest/resume/filestore/internal/vfs"
)

// cramped is a file system with room for files of some bytes only.
type cramped struct {
	*strictfs.FS
	most *atomic.Int64
}

type crampedFile struct {
	vfs.File
	most *atomic.Int64
}

func (c cramped) Open(name string, flag int) (vfs.File, error) {
	f, err := c.FS.Open(name, flag)
	return crampedFile{f, c.most}, err
}

func (f crampedFile) Reserve(size int64) (aside bool, err error) {
	if size > f.most.Load() {
		return false, syscall.ENOSPC
	}
	return f.File.Reserve(size)
}

// What is to be carried out of the oldest segment, and finds no room, does not
// keep from the room there is what somebody waits for: as a deletion does, which
// makes some.
func TestWhatIsCarriedTakesNobodysRoom(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.must(b.store.Close())
		fs := cramped{b.fs, new(atomic.Int64)}
		fs.most.Store(1 << 20)
		s, err := open(fs, crashDir, Options{ScanInterval: Never})
		b.must(err)
		b.store = s.Filed()
		const segment = 8 << 10
		j := b.withJournal(segment)
		waiting := b.complete(strings.Repeat("waits ", 500))
		var ids []resume.ID
		for len(ids) < 1000 && !j.due() {
			ids = append(ids, b.complete(strings.Repeat("x", 1000)))
			b.must(b.store.Settle(b.ctx, ids[len(ids)-1], nil))
		}
		if !j.due() {
			b.Fatal("nothing is to be carried")
		}
		j.active = nil // the next needs a segment
		fs.most.Store(500)
		b.must(b.store.Delete(b.ctx, ids[0]))
		if j.segments[0].number != 1 {
			b.Fatal("it was carried: the test meets nothing")
		}
		fs.most.Store(1 << 20)
		for range 5 {
			b.complete("more")
		}
		if j.segments[0].number == 1 {
			b.Fatal("nothing is carried when there is room")
		}
		b.reopen(segment)
		if got := b.content(waiting); len(got) != 3000 || b.there(ids[0]) {
			b.Fatalf("what waits has %d bytes; deleted, there: %v", len(got), b.there(ids[0]))
		}
	})
}
