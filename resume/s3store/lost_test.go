package s3store

import (
	"errors"
	"testing"
	"time"

	"github.com/wsingest/wsingest/resume"
)

// TestLostBytesAreTold: a multipart upload that a record names is gone, as a
// lifecycle rule of the bucket may leave it, or a storage that crashed. At first
// somebody might be making an object of it; then the client is told to begin anew
// instead of coming again for ever.
func TestLostBytesAreTold(t *testing.T) {
	nodes, server := publishers(t, 2)
	a, b := nodes[0], nodes[1]
	o := resume.OpenOptions{Info: resume.Info{ID: resume.NewID(), Length: 12 << 20}}
	c, err := a.Open(t.Context(), o)
	if err == nil {
		_, err = c.Write(make([]byte, 6<<20))
	}
	if err == nil {
		err = c.Sync(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	key := ""
	for m := range server.Client(t).ListIncompleteUploads(t.Context(), "uploads", "state/data/", true) {
		key = m.Key
	}
	if err := server.Client(t).RemoveIncompleteUpload(t.Context(), "uploads", key); err != nil {
		t.Fatal(err)
	}
	if c, err := b.Open(t.Context(), o); err == nil || errors.Is(err, resume.ErrLost) {
		t.Fatalf("the first time: %v, %v", c, err)
	}
	b.mu.Lock()
	b.missing[o.Info.ID] = time.Now().Add(-2 * lostAfter)
	b.mu.Unlock()
	if c, err := b.Open(t.Context(), o); !errors.Is(err, resume.ErrLost) {
		t.Fatalf("after a while: %v, %v", c, err)
	}
	if err := b.Delete(t.Context(), o.Info.ID); err != nil {
		t.Error(err)
	}
	c.Close()
}
