package filestore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wsingest/wsingest/resume"
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
		dir, ids := b.withJournal(leastSegment).dir, map[resume.ID]string{}
		for i := range 40 {
			text := fmt.Sprint("upload ", i)
			ids[b.complete(text)] = text
			b.reopen(leastSegment)
		}
		if n := len(b.names(dir)); n > 2*carryAbove+2 { // and the lock
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

// With too many in memory, small uploads are files: new ones, and those that
// were in the journal and are taken up again.
func TestSmallUploadsThatAreTooManyForMemoryHaveFiles(t *testing.T) {
	inBubble(t, func(b *bench) {
		j := b.withJournal(leastSegment)
		half := resume.NewID()
		c := b.claim(half, 9)
		b.write(c, "abc")
		b.must(c.Close())
		synctest.Wait()
		if n := b.store.buffered.Load(); n != 0 {
			b.Fatalf("%d bytes are in memory of an upload that nobody has open", n)
		}
		b.store.buffered.Add(maxBuffered)
		fresh := b.complete("fresh")
		c = b.claim(half, 9)
		b.write(c, "defghi")
		_, err := c.Finish(b.ctx, resume.FinishOptions{Length: 9})
		b.must(err)
		if j.has(half) || j.has(fresh) || b.read(half) != "abcdefghi" || b.read(fresh) != "fresh" {
			b.Fatalf("%q, %q", b.read(half), b.read(fresh))
		}
		b.must(c.Close())
		b.store.buffered.Add(-maxBuffered)
		synctest.Wait()
		if n := b.store.buffered.Load(); n != 0 {
			b.Fatalf("%d bytes are counted for nothing", n)
		}
		b.reopen(leastSegment)
		if b.content(half) != "abcdefghi" || b.content(fresh) != "fresh" {
			b.Fatalf("%q, %q", b.content(half), b.content(fresh))
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
