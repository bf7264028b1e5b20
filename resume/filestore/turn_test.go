package filestore

import (
	"testing"
	"time"

	"github.com/wsingest/wsingest/resume"
)

// However many uploads wait for their turn at the disk that nobody waits for:
// one that somebody waits for is durable before them, also if it was queued as
// one of theirs.
func TestWhoIsWaitedForGoesFirst(t *testing.T) {
	inBubble(t, func(b *bench) {
		for range cap(b.store.commits) {
			b.store.commits <- struct{}{}
		}
		c := b.claim(resume.NewID(), -1)
		b.write(c, "bytes")
		pass(time.Second)
		if got := c.Durable(); got != 0 {
			t.Fatalf("%d bytes are durable: the test does not hold the usual turns", got)
		}

		synced := make(chan error, 1)
		go func() { synced <- c.Sync(b.ctx) }()
		select {
		case err := <-synced:
			b.must(err)
		case <-time.After(time.Minute):
			t.Error("Sync waits behind those that nobody waits for")
		}
		for range cap(b.store.commits) {
			<-b.store.commits
		}
		b.must(c.Sync(b.ctx))
		if got := c.Durable(); got != 5 {
			t.Errorf("%d bytes are durable, expected 5", got)
		}
		c.Close()
	})
}
