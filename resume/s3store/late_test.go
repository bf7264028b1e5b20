package s3store_test

import (
	"bytes"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/wsingest/wsingest/resume"
	"github.com/wsingest/wsingest/resume/s3store/s3test"
)

// TestALateRecordNamesPartsThatAreThere: the write of a record is given up, and
// arrives all the same when its node has let go of the upload. It says that bytes
// are durable, so they have to be.
func TestALateRecordNamesPartsThatAreThere(t *testing.T) {
	server := s3test.Start(t)
	server.Bucket(t, "uploads")
	var mu sync.Mutex
	var late []func() int // the writes, in order
	proxy := newSpoiler(t, server.Endpoint, "PUT record", func(w http.ResponseWriter, r *http.Request, forward func(*http.Request) (*http.Response, []byte)) {
		body, _ := io.ReadAll(r.Body)
		held := r.Clone(t.Context())
		mu.Lock()
		late = append(late, func() int {
			held.Body = io.NopCloser(bytes.NewReader(body))
			resp, _ := forward(held)
			return resp.StatusCode
		})
		mu.Unlock()
		reset(w)
	}, 0)
	o := small(server, "")
	o.Endpoint, o.RetryFor, o.SyncInterval = proxy.endpoint, time.Second, time.Minute
	a := node(t, o)
	data := random(10, 12<<20)
	info := resume.Info{ID: resume.NewID(), Length: int64(len(data))}
	first := open(t, a, info)
	proxy.left.Store(1000)
	write(t, first, data[:5<<20])
	if err := first.Sync(patience(t)); err == nil {
		t.Fatal("Sync without a record")
	}
	first.Close()
	_ = a.Close() // with all it had to do still
	mu.Lock()
	defer mu.Unlock()
	if status := late[0](); status != http.StatusOK {
		t.Fatalf("the late record: %d", status)
	}
	b := node(t, small(server, ""))
	c := open(t, b, info)
	if c.Cursor() != 5<<20 {
		t.Errorf("it goes on from %d", c.Cursor())
	}
	write(t, c, data[c.Cursor():])
	finish(t, c, data)
	holds(t, b, info.ID, data)
	c.Close()
}
