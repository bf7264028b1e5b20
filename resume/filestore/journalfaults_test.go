package filestore

import (
	"context"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/wsingest/wsingest/resume"
	"github.com/wsingest/wsingest/resume/filestore/internal/strictfs"
)

// Wherever a crash comes while a small upload gets its files, it is there once
// afterwards, whole, and gone for good when it is deleted.
func TestACrashWhileAFileIsMadeLeavesOneUpload(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.withJournal(leastSegment)
		id := b.complete("small")
		c, err := b.store.Content(b.ctx, id)
		b.must(err)
		var left []*strictfs.FS
		b.fs.After = func() {
			left = append(left, b.fs.Kill())
			for seed := range uint64(8) {
				left = append(left, b.fs.Cut(rand.New(rand.NewPCG(seed, 0))))
			}
		}
		c.(resume.FileContent).Path()
		b.fs.After = nil
		b.must(c.Close())
		b.must(b.store.Close())
		inJournal := 0
		for i, fs := range left {
			b.fs = fs
			b.open(Options{ScanInterval: Never})
			if got := b.content(id); got != "small" {
				b.Fatalf("after crash %d of %d it has %q", i, len(left), got)
			}
			if b.store.journal.Load().has(id) {
				inJournal++
			}
			b.must(b.store.Delete(b.ctx, id))
			b.must(b.store.Close())
			b.open(Options{ScanInterval: Never})
			if b.there(id) {
				b.Fatalf("after crash %d of %d it is back when it was deleted", i, len(left))
			}
			b.must(b.store.Close())
		}
		b.store = nil
		if inJournal == 0 || inJournal == len(left) {
			b.Fatalf("after %d of %d crashes it was in the journal: the test does not meet both", inJournal, len(left))
		}
	})
}

// A sync that fails costs those who waited for it what they had not made
// durable before, and nothing of it is told later.
func TestAFailedSyncOfTheJournalIsNobodysPromise(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.withJournal(leastSegment)
		var fault failing
		b.fs.Fail = fault.hook
		id, other := resume.NewID(), b.complete("other")
		c := b.claim(id, 9)
		b.write(c, "abc")
		b.must(c.Sync(b.ctx))
		b.write(c, "def")
		fault.set("sync", segmentSuffix, syscall.EIO)
		if err := c.Sync(b.ctx); !errors.Is(err, syscall.EIO) || !errors.Is(c.Err(), syscall.EIO) {
			b.Fatalf("Sync: %v, Err: %v", err, c.Err())
		}
		fault.set("", "", nil)
		st := b.claim(id, 9).State()
		if st.Durable.EndFrom(0) != 3 || st.Received.EndFrom(0) != 3 {
			b.Fatalf("durable %v, received %v", st.Durable, st.Received)
		}
		for seed := range uint64(20) {
			after, err := open(b.fs.Cut(rand.New(rand.NewPCG(seed, 0))), crashDir, Options{ScanInterval: Never})
			b.must(err)
			again, err := after.Stat(b.ctx, id)
			b.must(err)
			if !again.Durable.Equal(st.Durable) {
				b.Fatalf("durable %v, after a loss of power %v", st.Durable, again.Durable)
			}
			b.must(after.Close())
		}
		c = b.claim(id, 9)
		b.write(c, "defghi")
		_, err := c.Finish(b.ctx, resume.FinishOptions{Length: 9})
		b.must(err)
		if b.content(id) != "abcdefghi" || b.content(other) != "other" {
			b.Fatalf("%q, %q", b.content(id), b.content(other))
		}
	})
}

func TestAFullDiskHoldsUpTheJournalUntilThereIsRoom(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.withJournal(leastSegment)
		var fault failing
		b.fs.Fail = fault.hook
		for _, op := range []string{"reserve", "write"} {
			c := b.claim(resume.NewID(), 3)
			b.write(c, "abc")
			fault.set(op, segmentSuffix, syscall.ENOSPC)
			finished := make(chan error, 1)
			go func() {
				_, err := c.Finish(b.ctx, resume.FinishOptions{Length: 3})
				finished <- err
			}()
			pass(50 * fullRetry)
			if len(finished) > 0 || c.Durable() != 0 {
				b.Fatalf("%s: finished or durable without room: %d", op, c.Durable())
			}
			fault.set("", "", nil)
			b.must(<-finished)
		}
	})
}

// Where the header of a segment finds room, and nothing behind it does, tries
// leave no segments.
func TestTriesOnAFullDiskLeaveNothing(t *testing.T) {
	inBubble(t, func(b *bench) {
		j := b.withJournal(leastSegment)
		waiting := b.complete("waits")
		begun := make(map[string]bool)
		var free atomic.Bool
		var tries atomic.Int64
		b.fs.Fail = func(op, path string) error {
			if free.Load() || op != "write" || !strings.HasSuffix(path, segmentSuffix) {
				return nil
			}
			if !begun[path] && filepath.Base(path) != segmentName(1) {
				begun[path] = true
				return nil
			}
			tries.Add(1)
			return syscall.ENOSPC
		}
		id := resume.NewID()
		c := b.claim(id, 3)
		b.write(c, "abc")
		finished := make(chan error, 1)
		go func() {
			_, err := c.Finish(b.ctx, resume.FinishOptions{Length: 3})
			finished <- err
		}()
		pass(20 * fullRetry)
		if tries.Load() < 10 {
			b.Fatalf("it was tried %d times", tries.Load())
		}
		if names := b.names(j.dir); len(names) > 2 { // the first segment, and the lock
			b.Fatalf("%d tries left %v", tries.Load(), names)
		}
		free.Store(true)
		b.must(<-finished)
		b.reopen(leastSegment)
		if b.content(waiting) != "waits" || b.content(id) != "abc" {
			b.Fatalf("what was there is %q, what found no room %q", b.content(waiting), b.content(id))
		}
	})
}

// What could not be carried out of the oldest segment is not given up with it.
func TestWhatFindsNoRoomIsCarriedAnotherTime(t *testing.T) {
	for _, op := range []string{"reserve", "write"} {
		inBubble(t, func(b *bench) {
			var fault failing
			b.fs.Fail = fault.hook
			const segment = 8 << 10
			j := b.withJournal(segment)
			waiting := b.complete("waits")
			for range 1000 {
				id := b.complete(string(make([]byte, 1000)))
				if j.due() {
					break
				}
				if b.must(b.store.Delete(b.ctx, id)); j.due() {
					break
				}
			}
			j.active = nil // the next needs a segment too
			fault.set(op, segmentSuffix, syscall.ENOSPC)
			c := b.claim(resume.NewID(), 3)
			b.write(c, "abc")
			ended, cancel := context.WithTimeout(b.ctx, time.Second)
			defer cancel()
			if err := c.Sync(ended); err == nil {
				b.Fatalf("%s did not fail", op)
			}
			fault.set("", "", nil)
			for range 10 {
				b.complete("more")
			}
			if j.segments[0].number == 1 {
				b.Fatal("nothing was carried")
			}
			b.reopen(segment)
			if got := b.content(waiting); got != "waits" {
				b.Fatalf("%s: what waits has %q", op, got)
			}
		})
	}
}

// A journal that cannot be begun leaves the directory locked as it was.
func TestAJournalThatCannotBeginKeepsTheLock(t *testing.T) {
	inBubble(t, func(b *bench) {
		var fault failing
		b.fs.Fail = fault.hook
		b.store.small = smallUpload
		fault.set("mkdir", lockName, syscall.ENOSPC)
		id := b.complete("small")
		fault.set("", "", nil)
		if got := b.read(id); got != "small" {
			b.Fatalf("its file has %q", got)
		}
		if s, err := open(b.fs, crashDir, Options{ScanInterval: Never}); !errors.Is(err, ErrInUse) {
			b.Errorf("a second store: %v", err)
			b.must(s.Close())
		}
		b.reopen(leastSegment)
		if b.content(id) != "small" || b.content(b.complete("another")) != "another" {
			b.Fatal("the next store has other bytes")
		}
	})
}

// A journal whose name could not be made durable gets it so before anything in
// it is told of, also by a process after that.
func TestAJournalWhoseNameWasNotSyncedIsNotLost(t *testing.T) {
	inBubble(t, func(b *bench) {
		var fault failing
		b.fs.Fail = fault.hook
		fault.set("syncdir", crashDir, syscall.EIO)
		if b.store.useJournal() != nil {
			b.Fatal("the journal has no durable name and is used")
		}
		fault.set("", "", nil)
		b.reopen(leastSegment)
		id := b.complete("small")
		for seed := range uint64(20) {
			if !b.has(b.fs.Cut(rand.New(rand.NewPCG(seed, 0))), id) {
				b.Fatal("it was told of and is gone with the journal")
			}
		}
	})
}

// Damage costs the entries that it hit, and bytes that look like an entry are
// none: who uploads them cannot know what entries begin with.
func TestDamageInTheJournalIsOneUploadsOwn(t *testing.T) {
	inBubble(t, func(b *bench) {
		j := b.withJournal(leastSegment)
		first, damaged := b.complete("first"), b.complete("damaged")
		forged := resume.NewID()
		fake := &entry{kind: entryWhole, phase: 'c', id: forged, record: []byte(`{"id":"` + string(forged) + `","length":0,"phase":"complete"}`)}
		last := b.complete(string(fake.appendTo(nil, 0)))
		off := int64(j.held[damaged].off)
		b.must(b.store.Close())
		b.overwrite(filepath.Join(j.dir, segmentName(1)), off, "#")
		b.open(Options{ScanInterval: Never})
		if b.content(first) != "first" || !b.there(last) || b.there(damaged) || b.there(forged) {
			b.Fatalf("first %q, last %v, damaged %v, forged %v", b.content(first), b.there(last), b.there(damaged), b.there(forged))
		}
	})
}

// FuzzSegment: whatever stands in a segment, what is read of it is whole
// entries, each as it would be written again.
func FuzzSegment(f *testing.F) {
	const salt = 0x0102030405060708
	b := make([]byte, segmentHeader)
	b = (&entry{kind: entryWhole, phase: 'r', id: "one", record: []byte("{}"), data: []byte("data")}).appendTo(b, salt)
	b = append(b, "torn"...)
	b = (&entry{kind: entryGone, id: "two"}).appendTo(b, salt)
	f.Add(b)
	f.Add(b[:len(b)-1])
	f.Fuzz(func(t *testing.T, b []byte) {
		seg, end := &segment{salt: salt}, int64(segmentHeader)
		for _, e := range seg.entries(b) {
			again := e.appendTo(nil, salt)
			if e.off < end || string(again[16:]) != string(b[e.off+16:e.off+int64(len(again))]) {
				t.Fatalf("the entry at %d is not what stands there", e.off)
			}
			end = e.off + int64(len(again))
		}
		if seg.used > int64(len(b)) {
			t.Fatalf("%d of %d bytes are used", seg.used, len(b))
		}
	})
}
