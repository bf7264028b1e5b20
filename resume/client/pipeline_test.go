package client

import (
	"bytes"
	"errors"
	"sync"
	"testing"

	"github.com/wsingest/wsingest/middleware/protocol"
)

func TestManySmallFilesShareOneConnection(t *testing.T) {
	const files = 500
	f := newFake(t, nil)
	c, err := New(f.url, quick())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	uploadMany(t, c, files)
	if f.conns != 1 || len(f.uploads) != files {
		t.Errorf("%d connections, %d uploads", f.conns, len(f.uploads))
	}
}

func TestPipelineSurvivesCuts(t *testing.T) {
	const files = 200
	f := newFake(t, func(f *fake) {
		f.cutAfter = func(n int) int64 { return int64(20_000 + 37*n) }
	})
	c, err := New(f.url, quick())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	uploadMany(t, c, files)
	if f.conns < 3 || len(f.uploads) != files {
		t.Errorf("%d connections, %d uploads", f.conns, len(f.uploads))
	}
	for _, u := range f.uploads {
		if u.done == nil {
			t.Errorf("upload %s is not done", u.id)
		}
	}
}

func uploadMany(t *testing.T, c *Client, files int) {
	var wg sync.WaitGroup
	ctx := testContext(t)
	next := make(chan int)
	for range 100 {
		wg.Go(func() {
			for i := range next {
				content := randomBytes(i)
				r, err := c.Upload(ctx, FromReaderAt(bytes.NewReader(content), int64(i)))
				if err != nil {
					t.Errorf("file %d: %v", i, err)
				} else if r.Length != int64(i) {
					t.Errorf("file %d has %d bytes", i, r.Length)
				}
			}
		})
	}
	for i := range files {
		next <- i
	}
	close(next)
	wg.Wait()
}

func TestOneRefusedUploadDoesNotFailTheOthers(t *testing.T) {
	f := newFake(t, func(f *fake) {
		f.onOpen = func(_ *fakeConn, m *protocol.Open) error {
			if *m.Length == 13 {
				return &protocol.Error{ID: m.ID, Code: protocol.MaxSizeExceeded, Detail: "13 is too much"}
			}
			return nil
		}
	})
	c, err := New(f.url, quick())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var wg sync.WaitGroup
	for i := range 30 {
		wg.Go(func() {
			_, err := c.Upload(testContext(t), FromReaderAt(bytes.NewReader(make([]byte, i)), int64(i)))
			var server *protocol.Error
			if i == 13 && (!errors.As(err, &server) || server.Code != protocol.MaxSizeExceeded) || i != 13 && err != nil {
				t.Errorf("file %d: %v", i, err)
			}
		})
	}
	wg.Wait()
}
