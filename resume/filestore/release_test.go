package filestore

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wsingest/wsingest/resume"
	"github.com/wsingest/wsingest/resume/filestore/internal/strictfs"
)

// slow is a file system on which no part file is removed before free is closed.
type slow struct {
	*strictfs.FS
	free chan struct{}
}

func (s slow) Remove(name string) error {
	if strings.HasSuffix(name, ".part") {
		<-s.free
	}
	return s.FS.Remove(name)
}

// holdRemovals opens the store anew on a file system that removes no part file
// before the channel is closed.
func (b *bench) holdRemovals() chan struct{} {
	b.Helper()
	b.must(b.store.Close())
	free := make(chan struct{})
	s, err := open(slow{b.fs, free}, crashDir, Options{ScanInterval: Never})
	b.must(err)
	b.store = s.Filed()
	return free
}

// Who waits for the answer to an upload does not wait for its bytes to be
// freed. Whoever opens an upload of the same name next does: else the removal
// would take the new one's bytes.
func TestAnswersDoNotWaitForBytesToBeFreed(t *testing.T) {
	inBubble(t, func(b *bench) {
		free := b.holdRemovals()
		id := resume.NewID()
		c := b.claim(id, 5)
		b.write(c, "bytes")
		_, err := c.Finish(b.ctx, resume.FinishOptions{Length: 5})
		b.must(err)
		b.must(b.store.Settle(b.ctx, id, []byte("answer")))
		if got := b.read(id); got != "bytes" {
			t.Fatalf("the part file has %q: the test has no hold on its removal", got)
		}

		again := make(chan resume.Claim)
		go func() {
			b.must(b.store.Delete(b.ctx, id))
			again <- b.claim(id, 3)
		}()
		synctest.Wait()
		select {
		case <-again:
			t.Fatal("opened again while the old bytes are being removed")
		default:
		}
		close(free)
		c = <-again
		b.write(c, "new")
		b.must(c.Sync(b.ctx))
		if got := b.read(id); got != "new" {
			t.Errorf("the part file has %q", got)
		}
		c.Close()
	})
}

// However many uploads are settled while the disk frees nothing, only so many
// are removed behind their answers: bytes do not pile up without bound.
func TestRemovalsBehindAnswersAreBounded(t *testing.T) {
	inBubble(t, func(b *bench) {
		free := b.holdRemovals()
		settled := make(chan struct{}, 2*maxRemovals)
		for range 2 * maxRemovals {
			id := resume.NewID()
			c := b.claim(id, 0)
			_, err := c.Finish(b.ctx, resume.FinishOptions{Length: 0})
			b.must(err)
			go func() {
				b.must(b.store.Settle(b.ctx, id, nil))
				settled <- struct{}{}
			}()
		}
		synctest.Wait()
		if n := len(settled); n != maxRemovals {
			t.Errorf("%d are settled while nothing is freed, want %d", n, maxRemovals)
		}
		close(free)
	})
}

// A claim whose upload has left memory is told that it ended, and nothing is
// let go of twice.
func TestEndedClaimOutlivesItsUpload(t *testing.T) {
	inBubble(t, func(b *bench) {
		id := resume.NewID()
		old := b.claim(id, 5)
		b.write(old, "by")
		b.claim(id, 5).Close()
		synctest.Wait()
		time.Sleep(time.Second) // what is due is committed
		synctest.Wait()
		if ids := b.store.loaded(); len(ids) != 0 {
			t.Fatalf("%v are in memory still: the test shows nothing", ids)
		}
		if _, err := old.Finish(b.ctx, resume.FinishOptions{Length: 5}); !errors.Is(err, resume.ErrSuperseded) {
			t.Errorf("Finish: %v", err)
		}
		if _, err := old.(resume.HeadReader).ReadHead(make([]byte, 2)); !errors.Is(err, resume.ErrSuperseded) {
			t.Errorf("ReadHead: %v", err)
		}
		old.Close()
	})
}
