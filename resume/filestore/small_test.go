package filestore

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wsingest/wsingest/resume"
)

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
		var mu sync.Mutex
		gone := map[resume.ID]resume.Phase{}
		told := func() map[resume.ID]resume.Phase {
			mu.Lock()
			defer mu.Unlock()
			return maps.Clone(gone)
		}
		b.open(Options{ExpireUnfinished: 10 * time.Hour, ExpireDelivered: 5 * time.Hour, ScanInterval: time.Minute,
			OnExpire: func(st resume.State) {
				mu.Lock()
				defer mu.Unlock()
				gone[st.ID] = st.Phase
			}})
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
		if len(told()) > 0 {
			b.Fatalf("%d are gone too early", len(told()))
		}
		pass(4 * time.Minute)
		if len(told()) != 100 {
			b.Fatalf("%d of 100 delivered ones are gone", len(told()))
		}
		pass(100 * time.Hour)
		if len(told()) != 101 || told()[abandoned] != resume.Receiving || held.Err() != nil || !b.there(complete) || len(j.held) != 2 {
			b.Fatalf("%d are gone, the claim: %v; in the journal: %d", len(told()), held.Err(), len(j.held))
		}
	})
}

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
