package s3store

import (
	"testing"
	"time"

	"github.com/wsingest/wsingest/resume"
)

// TestAnOutageTakesInAPartAtMost: what is sent meanwhile would have to be sent
// again if the node ended.
func TestAnOutageTakesInAPartAtMost(t *testing.T) {
	nodes, server := publishers(t, 1)
	s := nodes[0]
	const length = 16 << 20
	c, err := s.Open(t.Context(), resume.OpenOptions{Info: resume.Info{ID: resume.NewID(), Length: length}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	server.Stop()
	chunk := make([]byte, 256<<10)
	if _, err := c.Write(chunk); err != nil {
		t.Fatal(err)
	}
	synced := make(chan error, 1)
	go func() { synced <- c.Sync(t.Context()) }()
	for s.bucket.failing.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	sent := make(chan error, 1)
	go func() {
		for c.Cursor() < length {
			if _, err := c.Write(chunk); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	const bound = 5<<20 + blockSize
	for c.Cursor() < bound-2*blockSize { // it is taken in as far as that
		time.Sleep(time.Millisecond)
	}
	select {
	case err := <-sent:
		t.Errorf("all of it was taken in: %v", err)
		sent <- err
	case <-time.After(300 * time.Millisecond):
		if n := c.Cursor(); n > bound {
			t.Errorf("%d bytes were taken in, expected %d at the most", n, bound)
		}
	}
	if err := server.Run(); err != nil {
		t.Fatal(err)
	}
	for _, done := range []chan error{synced, sent} {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if _, err := c.Finish(t.Context(), resume.FinishOptions{Length: length}); err != nil {
		t.Error(err)
	}
}

// TestManyUploadsHaveAPartEach: a few in memory make one upload fast. Of many,
// or of one of which none has arrived yet, they would only be sent again when the
// node ends.
func TestManyUploadsHaveAPartEach(t *testing.T) {
	nodes, _ := publishers(t, 1)
	s := nodes[0]
	opened, err := s.Open(t.Context(), resume.OpenOptions{Info: resume.Info{ID: resume.NewID(), Length: 16 << 20}})
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Close()
	c := opened.(*claim)
	if n := s.sharing.Load(); n != 1 {
		t.Errorf("%d uploads share the storage, expected this one", n)
	}
	for _, of := range []struct{ uploads, arrived, parts int64 }{
		{1, 0, 1}, {1, 1, 2}, {1, 2, 3}, {1, 100, 4}, {2, 100, 4}, {4, 100, 2}, {4, 0, 1}, {5, 100, 1}, {8, 100, 1}, {200, 100, 1},
	} {
		s.sharing.Store(of.uploads)
		c.arrived = of.arrived * s.opts.PartSize
		if got := c.hold(); got != of.parts*s.opts.PartSize {
			t.Errorf("of %d uploads one of which %d parts have arrived may have %d bytes, expected %d parts", of.uploads, of.arrived, got, of.parts)
		}
	}
	s.sharing.Store(1)
}
