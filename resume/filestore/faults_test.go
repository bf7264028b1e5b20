package filestore

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wsingest/wsingest/resume"
)

func TestNothingIsDurableAfterAFailedSync(t *testing.T) {
	for _, suffix := range []string{partSuffix, stateSuffix} {
		t.Run(suffix, func(t *testing.T) {
			inBubble(t, func(b *bench) {
				var fault failing
				b.fs.Fail = fault.hook
				id := resume.NewID()
				var told atomic.Bool
				c, err := b.store.Open(b.ctx, resume.OpenOptions{Info: resume.Info{ID: id, Length: 9}, Notify: func() { told.Store(true) }})
				b.must(err)
				b.write(c, "abc")
				b.must(c.Sync(b.ctx))
				b.write(c, "def")
				synctest.Wait() // the sync has told of itself
				told.Store(false)
				fault.set("sync", suffix, syscall.EIO)
				if err := c.Sync(b.ctx); !errors.Is(err, syscall.EIO) {
					b.Fatalf("Sync: %v", err)
				}
				fault.set("", "", nil)
				synctest.Wait()
				if !errors.Is(c.Err(), syscall.EIO) || !told.Load() || c.Durable() != 3 {
					b.Fatalf("the claim: Err %v, told %v, durable to %d", c.Err(), told.Load(), c.Durable())
				}
				if _, err := c.Write([]byte("ghi")); !errors.Is(err, syscall.EIO) {
					b.Fatalf("Write: %v", err)
				}
				// What the store says now must survive: the kernel's memory does not
				// count.
				st := b.claim(id, 9).State()
				after, err := open(b.fs.Cut(rand.New(rand.NewPCG(0, 0))), crashDir, Options{ScanInterval: Never})
				b.must(err)
				again, err := after.Stat(b.ctx, id)
				b.must(err)
				if !again.Durable.Equal(st.Durable) || st.Durable.EndFrom(0) < 3 {
					b.Fatalf("durable %v, after a loss of power %v", st.Durable, again.Durable)
				}
				b.must(after.Close())

				c = b.claim(id, 9)
				b.must(c.SetCursor(3))
				b.write(c, "defghi")
				_, err = c.Finish(b.ctx, resume.FinishOptions{Length: 9})
				b.must(err)
			})
		})
	}
}

func TestAStalledSyncHoldsUpNobodyElse(t *testing.T) {
	inBubble(t, func(b *bench) {
		slow, fast := resume.NewID(), resume.NewID()
		stall := make(chan struct{})
		b.fs.Lie = func(op, path string) bool {
			if op == "sync" && strings.Contains(path, string(slow)) {
				<-stall
			}
			return false
		}
		c := b.claim(slow, 9)
		b.write(c, "abc")
		ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
		defer cancel()
		if err := c.Sync(ctx); !errors.Is(err, context.DeadlineExceeded) {
			b.Fatalf("Sync: %v", err)
		}
		b.write(c, "def")
		if c.Durable() != 0 || c.Cursor() != 6 || len(c.State().Durable) != 0 {
			b.Fatalf("durable to %d", c.Durable())
		}
		newer := b.claim(slow, 9) // supersedes without waiting for the disk
		b.write(newer, "ghi")

		other := b.claim(fast, 3)
		b.write(other, "xyz")
		_, err := other.Finish(b.ctx, resume.FinishOptions{Length: 3})
		b.must(err)

		close(stall)
		b.must(newer.Sync(b.ctx))
		if got := b.read(slow); got != "abcdefghi" {
			b.Fatalf("content %q", got)
		}
	})
}

func TestAFullDiskCreatesNothing(t *testing.T) {
	inBubble(t, func(b *bench) {
		var fault failing
		b.fs.Fail = fault.hook
		fault.set("reserve", partSuffix, syscall.ENOSPC)
		id := resume.NewID()
		_, err := b.store.Open(b.ctx, resume.OpenOptions{Info: resume.Info{ID: id, Length: 9}})
		if !errors.Is(err, resume.ErrNoSpace) {
			b.Fatalf("Open: %v", err)
		}
		if _, err := b.store.Stat(b.ctx, id); !errors.Is(err, resume.ErrNotFound) {
			b.Fatalf("Stat: %v", err)
		}
		b.onlyLock()
		fault.set("write", partSuffix, syscall.EDQUOT)
		c := b.claim(id, resume.UnknownLength)
		if n, err := c.Write([]byte("abc")); n != 0 || !errors.Is(err, resume.ErrNoSpace) {
			b.Fatalf("Write: %d, %v", n, err)
		}
		fault.set("", "", nil)
		b.write(c, "abc") // there is room again
		_, err = c.Finish(b.ctx, resume.FinishOptions{Length: 3})
		b.must(err)
	})
}

func TestAFaultOfTheDiskCostsOneUploadItsUnsyncedBytes(t *testing.T) {
	inBubble(t, func(b *bench) {
		var fault failing
		b.fs.Fail = fault.hook
		id := resume.NewID()
		c := b.claim(id, 9)
		b.write(c, "abc")
		b.must(c.Sync(b.ctx))
		fault.set("write", partSuffix, syscall.EIO)
		if _, err := c.Write([]byte("def")); !errors.Is(err, syscall.EIO) {
			b.Fatalf("Write: %v", err)
		}
		fault.set("", "", nil)
		if c := b.claim(id, 9); c.Cursor() != 3 {
			b.Fatalf("cursor %d", c.Cursor())
		}
	})
}

// A record that names bytes which were taken back must be replaced before
// others are written in their place, also when nobody waits for it.
func TestNoByteIsWrittenOverARecordedOne(t *testing.T) {
	inBubble(t, func(b *bench) {
		id := resume.NewID()
		c := b.claim(id, 9)
		b.write(c, "abc")
		c.Checkpoint()
		b.write(c, "XXX")
		b.must(c.Sync(b.ctx))

		stall := make(chan struct{})
		b.fs.Lie = func(op, path string) bool {
			if op == "sync" {
				<-stall
			}
			return false
		}
		ended, cancel := context.WithCancel(b.ctx)
		cancel()
		if cursor, err := c.Rewind(ended); cursor != 3 || !errors.Is(err, context.Canceled) {
			b.Fatalf("Rewind: %d, %v", cursor, err)
		}
		written := make(chan error)
		go func() {
			_, err := c.Write([]byte("def"))
			written <- err
		}()
		synctest.Wait()
		if got := b.read(id); !strings.HasPrefix(got, "abcXXX") {
			b.Fatalf("the file has %q", got)
		}
		close(stall)
		b.must(<-written)
		if got := b.read(id); !strings.HasPrefix(got, "abcdef") {
			b.Fatalf("the file has %q", got)
		}
	})
}

func TestAnIdleUploadIsNotInMemory(t *testing.T) {
	inBubble(t, func(b *bench) {
		id := resume.NewID()
		c := b.claim(id, 9)
		b.write(c, "abc")
		b.must(c.Close())
		synctest.Wait()
		if ids := b.store.loaded(); len(ids) != 0 {
			b.Fatalf("in memory: %v", ids)
		}
		if c := b.claim(id, 9); c.Durable() != 3 && c.State().Durable.EndFrom(0) != 3 {
			b.Fatalf("durable %v", c.State().Durable)
		}
	})
}

func TestSyncsBySizeAndByTime(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.must(b.store.Close())
		b.open(Options{ScanInterval: Never, SyncBytes: 64 << 10, SyncInterval: time.Minute})
		c := b.claim(resume.NewID(), 1<<20)
		b.write(c, "abc")
		synctest.Wait()
		if c.Durable() != 0 {
			b.Fatal("durable at once")
		}
		pass(time.Minute)
		if c.Durable() != 3 {
			b.Fatalf("durable to %d after SyncInterval", c.Durable())
		}
		b.write(c, string(bytes.Repeat([]byte("x"), 64<<10)))
		synctest.Wait()
		if c.Durable() != 3+64<<10 {
			b.Fatalf("durable to %d after SyncBytes", c.Durable())
		}
	})
}

// Renaming across what is one file system and what is not.
func TestContentIsMovedAwayDurably(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.must(b.fs.Mkdir("/away"))
		b.must(b.fs.SyncDir("/"))
		id := resume.NewID()
		c := b.claim(id, 3)
		b.write(c, "abc")
		_, err := c.Finish(b.ctx, resume.FinishOptions{Length: 3})
		b.must(err)
		content, err := b.store.Content(b.ctx, id)
		b.must(err)
		f := content.(resume.FileContent)

		b.fs.Fail = func(op, path string) error {
			if op == "rename" && filepath.Dir(path) == "/away" {
				return syscall.EXDEV
			}
			return nil
		}
		if err := f.Rename("/away/x"); !errors.Is(err, syscall.EXDEV) || !strings.Contains(err.Error(), "another file system") {
			b.Fatalf("Rename: %v", err)
		}
		b.fs.Fail = nil
		if f.Path() != b.store.partPath(id) {
			b.Fatalf("path %s", f.Path())
		}
		for range 2 { // again, as after a crash
			b.must(f.Rename("/away/file"))
		}
		p := make([]byte, 3)
		_, err = f.ReadAt(p, 0)
		b.must(err)
		b.must(f.Close())
		if string(p) != "abc" || f.Path() != "/away/file" {
			b.Fatalf("%q at %s", p, f.Path())
		}
		for seed := range uint64(20) {
			after, err := open(b.fs.Cut(rand.New(rand.NewPCG(seed, 0))), crashDir, Options{ScanInterval: Never})
			b.must(err)
			again, err := after.Content(b.ctx, id)
			b.must(err)
			if path := again.(resume.FileContent).Path(); path != "/away/file" {
				b.Fatalf("after a loss of power it is at %s", path)
			}
			b.must(again.Close())
			b.must(after.Close())
		}
		b.must(b.store.Settle(b.ctx, id, nil))
		if _, err := b.fs.Stat("/away/file"); err != nil {
			b.Fatal(err)
		}
	})
}

// The commit under way may have bytes that are taken back while it is: it must
// not tell of them, whether or not a commit before it did.
func TestRewindVoidsTheCommitUnderWay(t *testing.T) {
	for _, synced := range []bool{false, true} {
		inBubble(t, func(b *bench) {
			id := resume.NewID()
			c := b.claim(id, 9)
			b.write(c, "XXX")
			if synced {
				b.must(c.Sync(b.ctx))
			}
			b.write(c, "YYY")
			stall := make(chan struct{})
			b.fs.Lie = func(op, path string) bool {
				if op == "sync" {
					<-stall
				}
				return false
			}
			ended, cancel := context.WithCancel(b.ctx)
			cancel()
			if err := c.Sync(ended); !errors.Is(err, context.Canceled) { // begins one
				b.Fatal(err)
			}
			synctest.Wait()
			rewound := make(chan error)
			go func() {
				_, err := c.Rewind(b.ctx)
				rewound <- err
			}()
			synctest.Wait()
			close(stall)
			b.must(<-rewound)
			if st := c.State(); c.Durable() != 0 || len(st.Durable) != 0 || len(st.Received) != 0 {
				b.Fatalf("synced %v: durable %v, received %v", synced, st.Durable, st.Received)
			}
			b.write(c, "abcdefghi")
			_, err := c.Finish(b.ctx, resume.FinishOptions{Length: 9})
			b.must(err)
			if got := b.read(id); got != "abcdefghi" {
				b.Fatalf("content %q", got)
			}
		})
	}
}
