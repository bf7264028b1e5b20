package filestore

import (
	"errors"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wsingest/wsingest/resume"
)

// A segment that could not be written to, nor removed, may have what nobody was
// told of. It goes before those that say otherwise do.
func TestASegmentThatCannotBeDiscardedBringsNothingBack(t *testing.T) {
	inBubble(t, func(b *bench) {
		const segment = 8 << 10
		j := b.withJournal(segment)
		b.complete("first")
		j.active = nil // the next needs a segment too
		second := segmentName(2)
		syncs, broken := 0, true
		b.fs.Fail = func(op, path string) error {
			if !broken || filepath.Base(path) != second {
				return nil
			}
			if op == "sync" {
				if syncs++; syncs == 1 { // of its header
					return nil
				}
				return syscall.EIO
			}
			if op == "remove" {
				return syscall.EIO
			}
			return nil
		}
		id := resume.NewID()
		c := b.claim(id, 9)
		b.write(c, "abc")
		b.complain(c.Sync(b.ctx))
		broken = false
		if b.there(id) {
			b.Fatal("nobody was told of it, and it is there")
		}
		for n := 0; b.holds(j, segmentName(3)); n++ {
			if n == 1000 {
				b.Fatal("the segment after it stays")
			}
			b.must(b.store.Delete(b.ctx, b.complete(strings.Repeat("x", 1000))))
		}
		b.reopen(segment)
		if b.there(id) {
			b.Fatal("it is back")
		}
	})
}

func (b *bench) holds(j *journal, name string) bool {
	b.Helper()
	_, err := b.fs.Stat(filepath.Join(j.dir, name))
	return err == nil
}

// Where an entry is damaged, what others have of its upload is not the upload.
func TestBytesThatTheJournalLostAreMissed(t *testing.T) {
	for _, whole := range []bool{true, false} {
		inBubble(t, func(b *bench) {
			j := b.withJournal(leastSegment)
			id := resume.NewID()
			c := b.claim(id, 6)
			b.write(c, "abc")
			b.must(c.Sync(b.ctx))
			off := int64(j.held[id].pieces[0].off)
			b.write(c, "de")
			b.must(c.Sync(b.ctx))
			if whole {
				b.write(c, "f")
				_, err := c.Finish(b.ctx, resume.FinishOptions{Length: 6})
				b.must(err)
			}
			b.must(b.store.Close())
			b.overwrite(filepath.Join(j.dir, segmentName(1)), off, "#")
			b.open(Options{ScanInterval: Never})
			if whole {
				c, err := b.store.Content(b.ctx, id)
				if err == nil {
					p := make([]byte, 6)
					c.ReadAt(p, 0)
					b.Fatalf("it is there with %q", p)
				}
				if !errors.Is(err, ErrDamaged) {
					b.Fatal(err)
				}
			} else if _, err := b.store.Open(b.ctx, resume.OpenOptions{Info: resume.Info{ID: id, Length: 6}}); !errors.Is(err, ErrDamaged) {
				b.Fatalf("Open: %v", err)
			}
			b.must(b.store.Delete(b.ctx, id))
		})
	}
}

// What the journal has of an upload and cannot be read expires like a file.
func TestADamagedRecordInTheJournalExpires(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.must(b.store.Close())
		b.open(Options{ExpireUnfinished: time.Hour, ScanInterval: time.Minute})
		j := b.withJournal(leastSegment)
		id := resume.NewID()
		c := b.claim(id, 6)
		b.write(c, "abc")
		b.must(c.Close())
		pass(time.Second)
		b.overwrite(filepath.Join(j.dir, segmentName(1)), int64(j.held[id].off), "#")
		if _, err := b.store.Stat(b.ctx, id); !errors.Is(err, ErrDamaged) {
			b.Fatalf("Stat: %v", err)
		}
		pass(2 * time.Hour)
		if b.there(id) || j.has(id) {
			b.Fatal("it stays")
		}
	})
}

// The header of a segment is not all that says what is behind it.
func TestADamagedHeaderCostsNoUpload(t *testing.T) {
	inBubble(t, func(b *bench) {
		j := b.withJournal(leastSegment)
		ids := []resume.ID{b.complete("first"), b.complete("second")}
		for _, off := range []int64{0, 8, 17, 25, 37} {
			b.must(b.store.Close())
			b.overwrite(filepath.Join(j.dir, segmentName(1)), off, "#")
			b.open(Options{ScanInterval: Never})
			if b.content(ids[0]) != "first" || b.content(ids[1]) != "second" {
				b.Fatal("other bytes")
			}
		}
	})
}
