package filestore

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

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
			b.reopen(segment)
		}
	})
}

// Each segment is an open file. Where there are as many as there may be, small
// uploads are files that nobody has open, until others have left the journal.
func TestTheJournalHasABoundedNumberOfOpenFiles(t *testing.T) {
	inBubble(t, func(b *bench) {
		j := b.withJournal(1) // one for each entry
		var ids []resume.ID
		for range maxSegments + 20 {
			ids = append(ids, b.complete("small"))
		}
		if n := len(j.segments); n > maxSegments {
			b.Fatalf("%d segments are open", n)
		}
		last := ids[len(ids)-1]
		if j.has(last) || b.read(last) != "small" {
			b.Fatal("the last is not a file")
		}
		j.size = leastSegment
		for _, id := range ids[:100] {
			b.must(b.store.Delete(b.ctx, id))
		}
		if !j.has(b.complete("small")) {
			b.Fatal("nothing more goes to the journal")
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

// With too many in memory, small uploads are files: new ones, and those that
// were in the journal and are taken up again.
// A directory with a journal is one that a version which knows of none cannot
// open, and one of such a version is opened as it is.
