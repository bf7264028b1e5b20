package filestore

import (
	"errors"
	"math/rand/v2"
	"syscall"
	"testing"

	"github.com/wsingest/wsingest/resume"
	"github.com/wsingest/wsingest/resume/filestore/internal/strictfs"
)

// has reports what the next process finds of an upload on what is left.
func (b *bench) has(left *strictfs.FS, id resume.ID) bool {
	b.Helper()
	s, err := open(left, crashDir, Options{ScanInterval: Never})
	b.must(err)
	_, err = s.Stat(b.ctx, id)
	if err != nil && !errors.Is(err, resume.ErrNotFound) {
		b.Fatal(err)
	}
	b.must(s.Close())
	return err == nil
}

// An upload whose first record failed is not there for who asks for it next. It
// must not come back, with bytes of then, once that was said.
func TestAnUploadThatFailedFromTheStartStaysAway(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.withJournal(leastSegment)
		var fault failing
		b.fs.Fail = fault.hook
		b.complete("first") // makes the segment
		id := resume.NewID()
		c := b.claim(id, 9)
		b.write(c, "abc")
		fault.set("sync", segmentSuffix, syscall.EIO)
		b.complain(c.Sync(b.ctx))
		fault.set("", "", nil)
		if b.there(id) {
			b.Fatal("nobody was told of it, and it is there")
		}
		if b.has(b.fs.Kill(), id) {
			b.Fatal("it is there again after a kill")
		}
		b.reopen(leastSegment)
		if b.there(id) {
			b.Fatal("it is there again after an orderly end")
		}
	})
}

func (b *bench) complain(err error) {
	b.Helper()
	if !errors.Is(err, syscall.EIO) {
		b.Fatalf("%v, expected EIO", err)
	}
}

// After a failed sync the kernel shows what the disk has not. So an orderly end
// is not one that the next start may trust.
func TestAFailedSyncOfTheJournalIsNotForgottenAtTheEnd(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.withJournal(leastSegment)
		b.complete("first")
		b.reopen(leastSegment)
		if b.store.suspicious {
			b.Fatal("an orderly end is not trusted")
		}
		b.complete("second") // makes a segment
		var fault failing
		b.fs.Fail = fault.hook
		id := resume.NewID()
		c := b.claim(id, 3)
		b.write(c, "abc")
		fault.set("sync", segmentSuffix, syscall.EIO)
		b.complain(c.Sync(b.ctx))
		fault.set("", "", nil)
		b.there(id)
		b.reopen(leastSegment)
		if !b.store.suspicious {
			b.Fatal("what is in the kernel's memory is trusted")
		}
	})
}

// A deletion that failed may be on the disk. Who is told after it that the
// upload is there has to find it after a crash.
func TestWhatADeletionThatFailedLeavesIsThere(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.withJournal(leastSegment)
		var fault failing
		b.fs.Fail = fault.hook
		id := b.complete("small")
		fault.set("sync", segmentSuffix, syscall.EIO)
		b.complain(b.store.Delete(b.ctx, id))
		fault.set("", "", nil)
		if b.content(id) != "small" || !b.has(b.fs.Kill(), id) {
			b.Fatal("it was told of and is gone")
		}
	})
}

// A record of which a write to the journal had only a part may be whole in it.
func TestARecordInDoubtInTheJournalHoldsWhatIsTakenBack(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.withJournal(leastSegment)
		b.holdsInDoubt("write", segmentSuffix)
	})
}

// A small upload that finds no room for a file gets it when there is some.
func TestASmallUploadWaitsForRoomForItsFile(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.withJournal(leastSegment)
		var fault failing
		b.fs.Fail, b.fs.Drops = fault.hook, true
		id := b.complete("small")
		c, err := b.store.Content(b.ctx, id)
		b.must(err)
		defer c.Close()
		fault.set("sync", partSuffix, syscall.ENOSPC)
		path := make(chan string, 1)
		go func() { path <- c.(resume.FileContent).Path() }()
		pass(50 * fullRetry)
		if len(path) > 0 {
			b.Fatal("it has a file without room")
		}
		fault.set("", "", nil)
		if got := <-path; got != b.store.partPath(id) || b.read(id) != "small" {
			b.Fatalf("%q at %s", b.read(id), got)
		}
	})
}

// What a sync that found no room was to cut off is cut off by the next one.
func TestASyncThatIsTriedAgainCutsTheFile(t *testing.T) {
	inBubble(t, func(b *bench) {
		var fault failing
		b.fs.Fail = fault.hook
		id := resume.NewID()
		c := b.claim(id, resume.UnknownLength)
		b.write(c, "abc")
		c.Checkpoint()
		b.write(c, "XXX")
		b.must(c.Sync(b.ctx))
		_, err := c.Rewind(b.ctx)
		b.must(err)
		fault.set("sync", partSuffix, syscall.ENOSPC)
		finished := make(chan error, 1)
		go func() {
			_, err := c.Finish(b.ctx, resume.FinishOptions{Length: 3})
			finished <- err
		}()
		pass(50 * fullRetry)
		fault.set("", "", nil)
		b.must(<-finished)
		for seed := range uint64(20) {
			after, err := open(b.fs.Cut(rand.New(rand.NewPCG(seed, 0))), crashDir, Options{ScanInterval: Never})
			b.must(err)
			content, err := after.Content(b.ctx, id)
			b.must(err)
			b.must(content.Close())
			b.must(after.Close())
		}
	})
}
