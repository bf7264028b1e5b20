package s3store_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/minio/minio-go/v7"

	"github.com/wsingest/wsingest/resume"
	"github.com/wsingest/wsingest/resume/s3store/s3test"
)

// well says that all is done, and does nothing. versitygw 1.8.0 does so when it
// is asked again to complete what it was killed in the middle of.
func well(w http.ResponseWriter, r *http.Request, _ func(*http.Request) (*http.Response, []byte)) {
	io.Copy(io.Discard, r.Body)
	w.Header().Set("Content-Type", "application/xml")
	fmt.Fprint(w, `<?xml version="1.0" encoding="UTF-8"?><CompleteMultipartUploadResult><Bucket>uploads</Bucket><Key>k</Key><ETag>"0"</ETag></CompleteMultipartUploadResult>`)
}

// TestWhatIsSaidToBeCompletedIsLookedAt: an object that is not there is not
// written down, neither when a node takes over nor when an upload is finished.
func TestWhatIsSaidToBeCompletedIsLookedAt(t *testing.T) {
	server := s3test.Start(t)
	server.Bucket(t, "uploads")
	o := small(server, "")
	o.Endpoint = newSpoiler(t, server.Endpoint, "complete", well, 3).endpoint
	life(t, o, random(7, 11<<20))
}

// TestNothingIsPublishedThatIsNotThere: the same of a copy that is published.
func TestNothingIsPublishedThatIsNotThere(t *testing.T) {
	server := s3test.Start(t)
	server.Bucket(t, "uploads")
	proxy := newSpoiler(t, server.Endpoint, "complete", well, 0)
	o := small(server, "state/")
	o.Endpoint = proxy.endpoint
	s := node(t, o)
	data := random(8, 300_000)
	c := open(t, s, resume.Info{ID: resume.NewID(), Length: int64(len(data))})
	write(t, c, data)
	finish(t, c, data)
	id := c.State().ID
	c.Close()
	proxy.left.Store(1)
	if key, err := s.PublishKey(patience(t), id, "files/a", resume.ConflictOverwrite); err == nil {
		t.Errorf("it is said to be under %s", key)
	}
	if key, err := s.PublishKey(patience(t), id, "files/a", resume.ConflictOverwrite); err != nil || key != "files/a" {
		t.Errorf("published again: %s, %v", key, err)
	}
	if left := leftovers(t, server, "files/"); len(left) != 1 || left[0] != "files/a" {
		t.Errorf("there are %q", left)
	}
}

// TestAnObjectIsMoreThanAListOfParts: a node that completed the parts died before
// it could write that down, and a late part has made a list again, with nothing
// of what was wanted in it.
func TestAnObjectIsMoreThanAListOfParts(t *testing.T) {
	server := s3test.Start(t)
	server.Bucket(t, "uploads")
	data := random(9, 12<<20)
	info := resume.Info{ID: resume.NewID(), Length: int64(len(data))}
	a := node(t, small(server, ""))
	first := open(t, a, info)
	write(t, first, data[:5<<20])
	if err := first.Sync(patience(t)); err != nil {
		t.Fatal(err)
	}
	core := minio.Core{Client: server.Client(t)}
	for m := range server.Client(t).ListIncompleteUploads(t.Context(), "uploads", "data/", true) {
		page, err := core.ListObjectParts(t.Context(), "uploads", m.Key, m.UploadID, 0, 10)
		if err != nil {
			t.Fatal(err)
		}
		p := page.ObjectParts[0]
		if _, err := core.CompleteMultipartUpload(t.Context(), "uploads", m.Key, m.UploadID,
			[]minio.CompletePart{{PartNumber: 1, ETag: p.ETag, ChecksumCRC32C: p.ChecksumCRC32C}}, minio.PutObjectOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	o := small(server, "")
	proxy := newSpoiler(t, server.Endpoint, "list parts", func(w http.ResponseWriter, r *http.Request, _ func(*http.Request) (*http.Response, []byte)) {
		w.Header().Set("Content-Type", "application/xml")
		fmt.Fprint(w, `<?xml version="1.0" encoding="UTF-8"?><ListPartsResult><MaxParts>1000</MaxParts></ListPartsResult>`)
	}, 100)
	o.Endpoint = proxy.endpoint
	b := node(t, o)
	c := open(t, b, info)
	proxy.left.Store(0)
	if c.Cursor() != 5<<20 {
		t.Errorf("it goes on from %d", c.Cursor())
	}
	write(t, c, data[c.Cursor():])
	finish(t, c, data)
	holds(t, b, info.ID, data)
	first.Close()
	c.Close()
	for _, left := range leftovers(t, server, "") {
		if strings.HasPrefix(left, "multipart ") {
			t.Errorf("left in the bucket: %s", left)
		}
	}
}
