package filestore

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wsingest/wsingest/resume"
	"github.com/wsingest/wsingest/resume/filestore/internal/strictfs"
)

// withJournal has small uploads live in a journal of small segments.
func (b *bench) withJournal(segment int64) *journal {
	b.Helper()
	b.store.small = smallUpload
	j := b.store.useJournal()
	if j == nil {
		b.Fatal("there is no journal")
	}
	j.size = segment
	return j
}

func (b *bench) reopen(segment int64) *journal {
	b.Helper()
	b.must(b.store.Close())
	b.open(Options{ScanInterval: Never})
	return b.withJournal(segment)
}

// content reads a complete upload.
func (b *bench) content(id resume.ID) string {
	b.Helper()
	c, err := b.store.Content(b.ctx, id)
	b.must(err)
	defer c.Close()
	p := make([]byte, c.Size())
	if n, err := c.ReadAt(p, 0); n < len(p) {
		b.Fatal(err)
	}
	return string(p)
}

func (b *bench) names(dir string) (names []string) {
	b.Helper()
	b.must(b.fs.List(dir, func(name string) bool { names = append(names, name); return true }))
	return names
}

// However many small uploads there are, those that wait for the disk at the same
// time wait for one sync, and no file is created for any of them.
func TestSmallUploadsShareSyncsAndHaveNoFiles(t *testing.T) {
	inBubble(t, func(b *bench) {
		j := b.withJournal(leastSegment)
		b.complete("first") // makes the segment
		var mu sync.Mutex
		syncs, stall := 0, make(chan struct{})
		b.fs.Lie = func(op, path string) bool {
			if op == "sync" {
				mu.Lock()
				syncs++
				first := syncs == 1
				mu.Unlock()
				if first {
					<-stall
				}
			}
			return false
		}
		var uploads sync.WaitGroup
		ids := make([]resume.ID, 200)
		for i := range ids {
			uploads.Go(func() { ids[i] = b.complete(fmt.Sprintf("upload %d", i)) })
		}
		synctest.Wait()
		close(stall)
		uploads.Wait()
		if syncs > 3 {
			b.Errorf("%d syncs for %d uploads that were finished at once", syncs, len(ids))
		}
		for i, id := range ids {
			if got := b.content(id); got != fmt.Sprintf("upload %d", i) {
				b.Fatalf("upload %d has %q", i, got)
			}
		}
		if names := b.names(crashDir); len(names) != 2 {
			b.Errorf("there are %q, expected the lock and the journal alone", names)
		}
		if len(j.segments) != 1 {
			b.Errorf("%d segments", len(j.segments))
		}
	})
}

// What is settled leaves the journal, what is not stays, however long it waits.
func TestTheJournalStaysSmallAndKeepsWhatWaits(t *testing.T) {
	inBubble(t, func(b *bench) {
		const segment = 32 << 10
		j := b.withJournal(segment)
		waiting, half := b.complete(strings.Repeat("waits ", 500)), resume.NewID()
		c := b.claim(half, 9)
		b.write(c, "abc")
		b.must(c.Close())
		var settled resume.ID
		for range 1000 {
			settled = b.complete(strings.Repeat("x", 5000))
			b.must(b.store.Settle(b.ctx, settled, []byte("done")))
			if n := len(b.names(j.dir)); n > 40 { // a thousand records of 400 bytes, and some more
				b.Fatalf("the journal has %d segments of %d bytes", n, segment)
			}
			b.must(b.store.Delete(b.ctx, settled))
		}
		if n := len(b.names(j.dir)); n > 2*carryAbove {
			b.Errorf("with nearly nothing alive the journal has %d segments", n)
		}
		for range 2 {
			if got := b.content(waiting); got != strings.Repeat("waits ", 500) {
				b.Fatalf("what waits has %d bytes", len(got))
			}
			if st, err := b.store.Stat(b.ctx, half); err != nil || st.Durable.EndFrom(0) != 3 {
				b.Fatalf("the half upload: %+v, %v", st, err)
			}
			if b.there(settled) {
				b.Fatal("a deleted upload is back")
			}
			j = b.reopen(segment)
		}
	})
}

// Every start begins a segment. They do not pile up.
func TestStartsLeaveNoSegmentsBehind(t *testing.T) {
	inBubble(t, func(b *bench) {
		j := b.withJournal(leastSegment)
		ids := map[resume.ID]string{}
		for i := range 40 {
			text := fmt.Sprint("upload ", i)
			ids[b.complete(text)] = text
			j = b.reopen(leastSegment)
		}
		if n := len(b.names(j.dir)); n > 2*carryAbove+2 { // and the lock
			b.Errorf("%d segments after 40 starts", n)
		}
		for id, text := range ids {
			if got := b.content(id); got != text {
				b.Fatalf("%q, expected %q", got, text)
			}
		}
	})
}

// An upload that comes byte by byte is written anew as a whole now and then.
func TestAnUploadInManyPiecesIsPutTogether(t *testing.T) {
	inBubble(t, func(b *bench) {
		j := b.withJournal(leastSegment)
		id, want := resume.NewID(), ""
		c := b.claim(id, 100)
		for i := range 100 {
			piece := string(rune('a' + i%26))
			want += piece
			b.write(c, piece)
			b.must(c.Sync(b.ctx))
			if n := j.pieces(id); n > maxPieces {
				b.Fatalf("%d pieces", n)
			}
		}
		_, err := c.Finish(b.ctx, resume.FinishOptions{Length: 100})
		b.must(err)
		b.reopen(leastSegment)
		if got := b.content(id); got != want {
			b.Fatalf("%q", got)
		}
	})
}

func TestASmallUploadGetsAFileWhenSomebodyAsksForIt(t *testing.T) {
	inBubble(t, func(b *bench) {
		j := b.withJournal(leastSegment)
		id := b.complete("small")
		c, err := b.store.Content(b.ctx, id)
		b.must(err)
		path := c.(resume.FileContent).Path()
		p, err := b.fs.ReadFile(path)
		if err != nil || string(p) != "small" || path != b.store.partPath(id) || j.has(id) {
			b.Fatalf("%q at %s, %v; in the journal: %v", p, path, err, j.has(id))
		}
		b.must(b.fs.Mkdir("/away"))
		b.must(c.(resume.FileContent).Rename("/away/file"))
		b.must(c.Close())
		b.reopen(leastSegment)
		if got := b.content(id); got != "small" {
			b.Fatalf("%q", got)
		}
		b.must(b.store.Settle(b.ctx, id, nil))
		b.must(b.store.Delete(b.ctx, id))
		b.reopen(leastSegment)
		if b.there(id) {
			b.Fatal("it is back")
		}
	})
}

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
			time.Sleep(time.Minute)
			if len(finished) > 0 || c.Durable() != 0 {
				b.Fatalf("%s: finished or durable without room: %d", op, c.Durable())
			}
			fault.set("", "", nil)
			b.must(<-finished)
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

func TestSmallUploadsExpireByPhase(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.must(b.store.Close())
		told := map[resume.ID]resume.Phase{}
		b.open(Options{ExpireUnfinished: 10 * time.Hour, ExpireDelivered: 5 * time.Hour, ScanInterval: time.Minute,
			OnExpire: func(st resume.State) { told[st.ID] = st.Phase }})
		j := b.withJournal(leastSegment)
		abandoned, open := resume.NewID(), resume.NewID()
		c := b.claim(abandoned, 9)
		b.write(c, "abc")
		b.must(c.Close())
		held := b.claim(open, 9)
		complete := b.complete("abc")
		for range 100 {
			b.must(b.store.Settle(b.ctx, b.complete("abc"), nil))
		}
		pass(5*time.Hour - 2*time.Minute)
		if len(told) > 0 {
			b.Fatalf("%d are gone too early", len(told))
		}
		pass(4 * time.Minute)
		if len(told) != 100 {
			b.Fatalf("%d of 100 delivered ones are gone", len(told))
		}
		pass(100 * time.Hour)
		if len(told) != 101 || told[abandoned] != resume.Receiving || held.Err() != nil || !b.there(complete) || len(j.held) != 2 {
			b.Fatalf("%d are gone, the claim: %v; in the journal: %d", len(told), held.Err(), len(j.held))
		}
	})
}

// A directory with a journal is one that a version which knows of none cannot
// open, and one of such a version is opened as it is.
func TestVersionsWithoutAJournalAreKeptOff(t *testing.T) {
	dir := t.TempDir()
	s, err := New(dir, Options{})
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(err)
	upload := func(s *Store) resume.ID {
		c, err := s.Open(t.Context(), resume.OpenOptions{Info: resume.Info{ID: resume.NewID(), Length: 3}})
		must(err)
		_, err = c.Write([]byte("abc"))
		must(err)
		must(c.Sync(t.Context()))
		return c.State().ID
	}
	old := upload(s.Filed())
	must(s.Close())
	if info, err := os.Stat(filepath.Join(dir, lockName)); err != nil || !info.Mode().IsRegular() {
		t.Fatalf("a directory without a journal has no lock file: %v, %v", info, err)
	}
	s, err = New(dir, Options{})
	must(err)
	small := upload(s)
	for range 2 {
		if f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600); err == nil {
			f.Close()
			t.Fatal("another version can lock the directory")
		}
		if _, err := New(dir, Options{}); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), fmt.Sprintf("process %d", os.Getpid())) {
			t.Fatalf("a second store: %v", err)
		}
		for _, id := range []resume.ID{old, small} {
			if st, err := s.Stat(t.Context(), id); err != nil || st.Durable.EndFrom(0) != 3 {
				t.Fatalf("%+v, %v", st, err)
			}
		}
		must(s.Close())
		s, err = New(dir, Options{})
		must(err)
	}
	must(s.Close())
}
