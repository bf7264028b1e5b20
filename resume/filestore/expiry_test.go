package filestore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"testing"
	"time"

	"github.com/wsingest/wsingest/resume"
)

func (b *bench) complete(content string) resume.ID {
	b.Helper()
	id := resume.NewID()
	c := b.claim(id, int64(len(content)))
	b.write(c, content)
	_, err := c.Finish(b.ctx, resume.FinishOptions{Length: resume.UnknownLength})
	b.must(err)
	b.must(c.Close())
	return id
}

func (b *bench) there(id resume.ID) bool {
	b.Helper()
	_, err := b.store.Stat(b.ctx, id)
	if err != nil && !errors.Is(err, resume.ErrNotFound) {
		b.Fatal(err)
	}
	return err == nil
}

func TestUploadsExpireByPhase(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.must(b.store.Close())
		told := map[resume.ID]resume.Phase{}
		b.open(Options{ExpireUnfinished: 10 * time.Hour, ExpireDelivered: 5 * time.Hour, ScanInterval: time.Minute,
			OnExpire: func(st resume.State) { told[st.ID] = st.Phase }})
		abandoned, open := resume.NewID(), resume.NewID()
		c := b.claim(abandoned, 9)
		b.write(c, "abc")
		b.must(c.Close())
		held := b.claim(open, 9)
		b.write(held, "abc")
		complete, delivered := b.complete("abc"), b.complete("abc")
		b.must(b.store.Settle(b.ctx, delivered, nil))
		st, err := b.store.Stat(b.ctx, delivered)
		b.must(err)
		if !st.Expires.Equal(st.Updated.Add(5 * time.Hour)) {
			b.Fatalf("updated %v, expires %v", st.Updated, st.Expires)
		}

		pass(5*time.Hour - 2*time.Minute)
		if !b.there(delivered) || !b.there(abandoned) {
			b.Fatal("removed too early")
		}
		pass(4 * time.Minute)
		if b.there(delivered) {
			b.Fatal("a delivered record stays")
		}
		pass(5 * time.Hour)
		if b.there(abandoned) {
			b.Fatal("an abandoned upload stays")
		}
		pass(100 * time.Hour)
		if !b.there(open) || held.Err() != nil {
			b.Fatal("an upload was removed under its client")
		}
		if !b.there(complete) {
			b.Fatal("a complete upload was removed before it was delivered")
		}
		if len(told) != 2 || told[abandoned] != resume.Receiving || told[delivered] != resume.Delivered {
			b.Fatalf("OnExpire was told of %v, expected of the abandoned upload and of the delivered record", told)
		}
		b.must(b.store.Delete(b.ctx, open))
		b.must(b.store.Delete(b.ctx, complete))
		b.onlyLock()
	})
}

func TestWhatACrashLeftBehindGoes(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.must(b.store.Close())
		orphan, unborn := resume.NewID(), resume.NewID()
		for _, name := range []string{string(orphan) + partSuffix, string(unborn) + partSuffix, string(unborn) + stateSuffix} {
			f, err := b.fs.Open(crashDir+"/"+name, os.O_RDWR|os.O_CREATE)
			b.must(err)
			_, err = f.WriteAt([]byte("wsingest, torn"), 0)
			b.must(err)
		}
		b.open(Options{ScanInterval: time.Minute})
		pass(orphanAge - 2*time.Minute)
		if _, err := b.fs.Stat(b.store.partPath(orphan)); err != nil {
			b.Fatalf("removed too early: %v", err)
		}
		pass(4 * time.Minute)
		if _, err := b.fs.Stat(b.store.partPath(orphan)); err == nil {
			b.Fatal("bytes without a record stay")
		}
		pass(24 * time.Hour) // a state file is looked at no earlier
		b.onlyLock()
	})
}

func TestNeverKeepsForever(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.must(b.store.Close())
		b.open(Options{ExpireUnfinished: Never, ExpireDelivered: Never, ScanInterval: time.Hour})
		id := resume.NewID()
		b.must(b.claim(id, 1).Close())
		delivered := b.complete("abc")
		b.must(b.store.Settle(b.ctx, delivered, nil))
		pass(10_000 * time.Hour)
		if !b.there(id) || !b.there(delivered) {
			b.Fatal("it expired")
		}
		if st, _ := b.store.Stat(b.ctx, id); !st.Expires.IsZero() {
			b.Fatalf("expires %v", st.Expires)
		}
	})
}

func TestOptionsThatMakeNoSenseAreRefused(t *testing.T) {
	for _, o := range []Options{
		{SyncBytes: -1}, {SyncBytes: 1}, {SyncBytes: 2 << 30}, {SyncInterval: -1}, {SyncInterval: time.Hour},
		{ExpireUnfinished: time.Millisecond}, {ExpireDelivered: 1}, {ScanInterval: 5},
	} {
		if s, err := New(t.TempDir(), o); err == nil {
			s.Close()
			t.Errorf("%+v was taken", o)
		}
	}
}

func TestDamageIsOneUploadsOwn(t *testing.T) {
	inBubble(t, func(b *bench) {
		sound, damaged, gone := b.complete("abc"), b.complete("abc"), b.complete("abc")
		b.must(b.store.Close())
		for _, off := range []int64{0, 256 << 10} {
			b.overwrite(crashDir+"/"+string(damaged)+stateSuffix, off, fmt.Sprintf("%0100d", 7))
		}
		b.must(b.fs.Remove(crashDir + "/" + string(gone) + partSuffix))
		b.open(Options{ScanInterval: Never})
		if _, err := b.store.Stat(b.ctx, damaged); !errors.Is(err, ErrDamaged) {
			b.Fatalf("Stat: %v", err)
		}
		if _, err := b.store.Open(b.ctx, resume.OpenOptions{Info: resume.Info{ID: damaged, Length: 3}}); !errors.Is(err, ErrDamaged) {
			b.Fatalf("Open: %v", err)
		}
		if _, err := b.store.Content(b.ctx, gone); !errors.Is(err, ErrDamaged) {
			b.Fatalf("Content: %v", err)
		}
		n := 0
		for st, err := range b.store.All(b.ctx) {
			if err == nil && st.ID == damaged {
				b.Fatal("All yields a damaged upload")
			}
			n++
		}
		if n != 3 || !b.there(sound) {
			b.Fatalf("%d uploads", n)
		}
		b.must(b.store.Delete(b.ctx, damaged))
		if b.there(damaged) {
			b.Fatal("it is there after Delete")
		}
	})
}

func (b *bench) overwrite(path string, off int64, text string) {
	b.Helper()
	f, err := b.fs.Open(path, os.O_RDWR)
	b.must(err)
	_, err = f.WriteAt([]byte(text), off)
	b.must(errors.Join(err, f.Sync(), f.Close()))
}

// On a file system that ignores case, an id finds the files of another.
func TestAnIDThatDiffersInCaseIsNotTheSame(t *testing.T) {
	inBubble(t, func(b *bench) {
		upper, lower := resume.ID("ABCDEFGHIJKLMNOPQRSTUVWXYZ"), resume.ID("abcdefghijklmnopqrstuvwxyz")
		c := b.claim(upper, 3)
		b.write(c, "abc")
		b.must(c.Close())
		b.must(b.store.Close())
		b.must(b.fs.Link(crashDir+"/"+string(upper)+stateSuffix, crashDir+"/"+string(lower)+stateSuffix))
		b.must(b.fs.Link(crashDir+"/"+string(upper)+partSuffix, crashDir+"/"+string(lower)+partSuffix))
		b.open(Options{ScanInterval: Never})
		if _, err := b.store.Open(b.ctx, resume.OpenOptions{Info: resume.Info{ID: lower, Length: 3}}); !errors.Is(err, errOther) {
			b.Fatalf("Open: %v", err)
		}
		if err := b.store.Delete(b.ctx, lower); !errors.Is(err, errOther) {
			b.Fatalf("Delete: %v", err)
		}
		if b.read(upper) != "abc" || !b.there(upper) {
			b.Fatal("the other upload was harmed")
		}
	})
}

func TestANewStoreLooksAtNoUpload(t *testing.T) {
	inBubble(t, func(b *bench) {
		for range 10 {
			b.complete("abc")
		}
		b.must(b.store.Close())
		looked := 0
		b.fs.After = func() { looked++ }
		b.open(Options{ScanInterval: Never})
		b.fs.After = nil
		if looked > 3 { // the lock file is cut and written, the parent synced
			b.Fatalf("%d operations", looked)
		}
		if err := b.fs.Mkdir(crashDir); !errors.Is(err, fs.ErrExist) {
			b.Fatal(err)
		}
	})
}
