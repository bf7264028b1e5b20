package filestore

import (
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/wsingest/wsingest/resume"
)

// A file system that sets no space aside: what open uploads still need is in
// the ledger, and comes out of it as bytes come, and when they are given up.
func TestWhatOpenUploadsNeedIsSpokenFor(t *testing.T) {
	inBubble(t, func(b *bench) {
		free := int64(1000)
		b.fs.Room = func() int64 { return free }
		b.store.space.keep = 100
		ask := func(length int64) (resume.Claim, error) {
			return b.store.Open(b.ctx, resume.OpenOptions{Info: resume.Info{ID: resume.NewID(), Length: length}})
		}
		first, err := ask(600)
		b.must(err)
		for length, fits := range map[int64]bool{301: false, 1000: false} {
			if c, err := ask(length); fits != (err == nil) || err != nil && !errors.Is(err, resume.ErrNoSpace) {
				b.Fatalf("%d bytes beside 600 of 900: %v, %v", length, c, err)
			}
		}
		b.write(first, string(make([]byte, 200)))
		free -= 200 // 800 are free, 100 are kept, 400 promised
		second, err := ask(300)
		b.must(err)
		if _, err := ask(1); !errors.Is(err, resume.ErrNoSpace) {
			b.Fatalf("one byte more: %v", err)
		}
		growing := b.claim(resume.NewID(), resume.UnknownLength)
		if n, err := growing.Write([]byte("x")); n != 0 || !errors.Is(err, resume.ErrNoSpace) {
			b.Fatalf("what others were promised was taken: %d, %v", n, err)
		}
		b.must(second.Close())
		pass(time.Minute) // it has left memory
		n, err := growing.Write([]byte("x"))
		b.must(err)
		if n != 1 {
			b.Fatalf("%d bytes were taken", n)
		}
		b.write(first, string(make([]byte, 400)))
		b.store.space.mu.Lock()
		defer b.store.space.mu.Unlock()
		if b.store.space.promised != 0 {
			b.Fatalf("%d bytes are promised to nobody", b.store.space.promised)
		}
	})
}

// A record that finds no room is written when there is some, and who waits for
// it waits.
func TestARecordWaitsForRoom(t *testing.T) {
	inBubble(t, func(b *bench) {
		var fault failing
		b.fs.Fail = fault.hook
		c := b.claim(resume.NewID(), 3)
		b.write(c, "abc")
		fault.set("write", stateSuffix, syscall.ENOSPC)
		finished := make(chan error, 1)
		go func() {
			_, err := c.Finish(b.ctx, resume.FinishOptions{Length: 3})
			finished <- err
		}()
		pass(50 * fullRetry)
		select {
		case err := <-finished:
			b.Fatalf("Finish returned while there was no room for the record: %v", err)
		default:
		}
		if c.Durable() != 0 {
			b.Fatalf("%d bytes are called durable without a record", c.Durable())
		}
		fault.set("", "", nil)
		b.must(<-finished)
	})
}

func TestCloseDoesNotWaitForRoom(t *testing.T) {
	inBubble(t, func(b *bench) {
		var fault failing
		b.fs.Fail = fault.hook
		store, err := open(b.fs, crashDir+"-full", Options{ScanInterval: Never})
		b.must(err)
		store.Filed()
		c, err := store.Open(b.ctx, resume.OpenOptions{Info: resume.Info{ID: resume.NewID(), Length: 3}})
		b.must(err)
		b.write(c, "abc")
		fault.set("write", stateSuffix, syscall.ENOSPC)
		pass(time.Minute)
		if err := store.Close(); !errors.Is(err, resume.ErrNoSpace) {
			b.Fatalf("Close: %v, expected that what could not be made durable is told", err)
		}
		fault.set("", "", nil)
	})
}
