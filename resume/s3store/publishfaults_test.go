package s3store_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/wsingest/wsingest/resume"
	"github.com/wsingest/wsingest/resume/s3store/s3test"
)

// TestNoFaultPublishesAFileTwice: a row for each operation of publishing and
// fault. Whatever the network does to a request of the kind, twice, the file is
// under its key when PublishKey says so, and nothing is under another.
func TestNoFaultPublishesAFileTwice(t *testing.T) {
	server := s3test.Start(t)
	server.Bucket(t, "uploads")
	data := random(6, 300_000)
	published := []string{"HEAD", "PUT record", "begin parts", "copy part", "complete"}
	eachFault(t, published, func(t *testing.T, prefix, op string, f fault) {
		proxy := newSpoiler(t, server.Endpoint, op, f, 0)
		o := small(server, prefix)
		o.Endpoint = proxy.endpoint
		s := node(t, o)
		info := resume.Info{ID: resume.NewID(), Length: int64(len(data))}
		c := open(t, s, info)
		write(t, c, data)
		finish(t, c, data)
		c.Close()
		// What the storage can do is found out first, with a file of its own.
		if _, err := s.PublishKey(patience(t), resume.NewID(), prefix+"files/a.txt", resume.ConflictFail); err == nil {
			t.Fatal("nothing was published")
		}
		proxy.left.Store(2)
		key, err := "", error(nil)
		for range 5 { // as the middleware does
			if key, err = s.PublishKey(patience(t), info.ID, prefix+"files/a.txt", resume.ConflictRename); err == nil {
				break
			}
		}
		if err != nil || key != prefix+"files/a.txt" {
			t.Errorf("it is under %q, %v", key, err)
		}
		if proxy.hit.Load() == 0 {
			t.Errorf("no request of the kind %q was made", op)
		}
		var files []string
		for _, left := range leftovers(t, server, prefix+"files/") {
			if op != "begin parts" || !strings.HasPrefix(left, "multipart ") { // nobody was told its name
				files = append(files, left)
			}
		}
		if !slices.Equal(files, []string{prefix + "files/a.txt"}) {
			t.Errorf("there are %q", files)
		}
	})
}
