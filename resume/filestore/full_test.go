package filestore

import (
	"errors"
	"math/rand/v2"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/wsingest/wsingest/resume"
)

func TestMain(m *testing.M) {
	fullRetry = time.Millisecond // the runs of powerloss_test.go have no bubble
	os.Exit(m.Run())
}

// A sync that finds no room for bytes is tried again until there is some, with
// the bytes written anew: nobody has to send them again, and they are durable.
func TestASyncThatFindsNoRoomIsTriedAgain(t *testing.T) {
	for _, suffix := range []string{partSuffix, stateSuffix} {
		t.Run(suffix, func(t *testing.T) {
			inBubble(t, func(b *bench) {
				var fault failing
				b.fs.Fail = fault.hook
				id := resume.NewID()
				c, err := b.store.Open(b.ctx, resume.OpenOptions{Info: resume.Info{ID: id, Length: 9, WantSHA256: true}})
				b.must(err)
				b.write(c, "abc")
				b.must(c.Sync(b.ctx))
				b.write(c, "def")
				fault.set("sync", suffix, syscall.ENOSPC)
				for range 2 {
					if err := c.Sync(b.ctx); !errors.Is(err, resume.ErrNoSpace) {
						b.Fatalf("Sync: %v", err)
					}
					pass(50 * fullRetry)
				}
				if c.Err() != nil || c.Durable() != 3 {
					b.Fatalf("the claim: Err %v, durable to %d", c.Err(), c.Durable())
				}
				if suffix == partSuffix { // bytes do not pile up that find no place
					if n, err := c.Write([]byte("g")); n != 0 || !errors.Is(err, resume.ErrNoSpace) {
						b.Fatalf("Write: %d, %v", n, err)
					}
				}
				fault.set("", "", nil)
				pass(50 * fullRetry) // the store tries by itself
				if c.Durable() != 6 {
					b.Fatalf("durable to %d", c.Durable())
				}
				for seed := range uint64(20) {
					after, err := open(b.fs.Cut(rand.New(rand.NewPCG(seed, 0))), crashDir, Options{ScanInterval: Never})
					b.must(err)
					if st, err := after.Stat(b.ctx, id); err != nil || st.Durable.EndFrom(0) != 6 {
						b.Fatalf("after a loss of power %v (%v)", st.Durable, err)
					}
					p, err := after.fs.(interface{ ReadFile(string) ([]byte, error) }).ReadFile(after.partPath(id))
					if err != nil || len(p) < 6 || string(p[:6]) != "abcdef" {
						b.Fatalf("after a loss of power the file has %q (%v)", p, err)
					}
					b.must(after.Close())
				}
				b.write(c, "ghi")
				st, err := c.Finish(b.ctx, resume.FinishOptions{Length: 9})
				b.must(err)
				if len(st.SHA256) != 32 || b.read(id) != "abcdefghi" {
					b.Fatalf("content %q, SHA-256 %x", b.read(id), st.SHA256)
				}
			})
		})
	}
}

// Where the kernel has dropped the bytes, they are sent again: the claim ends,
// and the next one begins where everything is durable.
func TestBytesDroppedByAFailedSyncAreSentAgain(t *testing.T) {
	inBubble(t, func(b *bench) {
		var fault failing
		b.fs.Fail, b.fs.Drops = fault.hook, true
		id := resume.NewID()
		c := b.claim(id, resume.UnknownLength)
		b.write(c, "abc")
		b.must(c.Sync(b.ctx))
		b.write(c, "def")
		fault.set("sync", partSuffix, syscall.EDQUOT)
		if err := c.Sync(b.ctx); !errors.Is(err, resume.ErrNoSpace) {
			b.Fatalf("Sync: %v", err)
		}
		pass(50 * fullRetry) // it is found out when they are read back
		if !errors.Is(c.Err(), resume.ErrNoSpace) || c.Durable() != 3 {
			b.Fatalf("the claim: Err %v, durable to %d", c.Err(), c.Durable())
		}
		fault.set("", "", nil)
		c = b.claim(id, 6)
		if c.Cursor() != 3 {
			b.Fatalf("the next claim begins at %d", c.Cursor())
		}
		b.write(c, "def")
		_, err := c.Finish(b.ctx, resume.FinishOptions{Length: 6})
		b.must(err)
		if got := b.read(id); got != "abcdef" {
			b.Fatalf("content %q", got)
		}
	})
}

// A record whose sync found no room may be on the disk all the same: bytes that
// are taken back must not be written over before it is replaced.
func TestARecordInDoubtHoldsWhatIsTakenBack(t *testing.T) {
	inBubble(t, func(b *bench) { b.holdsInDoubt("sync", stateSuffix) })
}

// holdsInDoubt has a record written that names bytes, finds no room in op, and is
// in doubt; then the bytes are taken back.
func (b *bench) holdsInDoubt(op, suffix string) {
	var fault failing
	b.fs.Fail = fault.hook
	c := b.claim(resume.NewID(), 6)
	b.write(c, "abc")
	b.must(c.Sync(b.ctx))
	c.Checkpoint()
	b.write(c, "bad")
	fault.set(op, suffix, syscall.ENOSPC)
	go c.Sync(b.ctx)
	pass(50 * fullRetry)
	rewound := make(chan error, 1)
	go func() {
		_, err := c.Rewind(b.ctx)
		rewound <- err
	}()
	pass(50 * fullRetry)
	select {
	case err := <-rewound:
		b.Fatalf("Rewind returned while a record with the bytes may be there: %v", err)
	default:
	}
	fault.set("", "", nil)
	b.must(<-rewound)
	b.write(c, "def")
	_, err := c.Finish(b.ctx, resume.FinishOptions{Length: 6})
	b.must(err)
}
