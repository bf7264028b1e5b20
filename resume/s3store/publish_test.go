package s3store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/wsingest/wsingest/resume"
	"github.com/wsingest/wsingest/resume/s3store/s3test"
)

// publishers are nodes that publish in parts of 5 MiB.
func publishers(t *testing.T, n int) (nodes []*Store, server *s3test.Server) {
	t.Helper()
	server = s3test.Start(t)
	server.Bucket(t, "uploads")
	for range n {
		s, err := New(Options{
			Endpoint: server.Endpoint, Bucket: "uploads", Prefix: "state/", Insecure: true, PartSize: 5 << 20, ScanInterval: Never,
			Credentials: credentials.NewStaticV4(s3test.AccessKey, s3test.SecretKey, ""),
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
		s.copySize = 5 << 20
		nodes = append(nodes, s)
	}
	return nodes, server
}

func complete(t *testing.T, s *Store, content []byte) resume.ID {
	t.Helper()
	id := resume.NewID()
	c, err := s.Open(t.Context(), resume.OpenOptions{Info: resume.Info{ID: id, Length: int64(len(content)), Type: "text/plain"}})
	if err == nil {
		_, err = c.Write(content)
	}
	if err == nil {
		_, err = c.Finish(t.Context(), resume.FinishOptions{Length: int64(len(content))})
		c.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func publishAs(t *testing.T, s *Store, id resume.ID, key string, conflict resume.Conflict) string {
	t.Helper()
	final, err := s.PublishKey(t.Context(), id, key, conflict)
	if err != nil {
		t.Fatal(err)
	}
	return final
}

// under checks what an object holds.
func under(t *testing.T, server *s3test.Server, key string, want []byte) {
	t.Helper()
	o, err := server.Client(t).GetObject(t.Context(), "uploads", key, minio.GetObjectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	got, err := io.ReadAll(o)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s has %d bytes (%v), expected %d, or differs", key, len(got), err, len(want))
	}
	if info, err := o.Stat(); err != nil || info.ContentType != "text/plain" {
		t.Errorf("%s has the type %q (%v)", key, info.ContentType, err)
	}
}

// only checks which objects there are beside the store's own, and that nothing
// is unfinished.
func only(t *testing.T, server *s3test.Server, want ...string) {
	t.Helper()
	var got []string
	for o := range server.Client(t).ListObjects(t.Context(), "uploads", minio.ListObjectsOptions{Prefix: "files/", Recursive: true}) {
		got = append(got, o.Key)
	}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("there are %q, expected %q", got, want)
	}
	for m := range server.Client(t).ListIncompleteUploads(t.Context(), "uploads", "files/", true) {
		t.Errorf("the multipart upload of %s is left", m.Key)
	}
}

// TestAFileAppearsUnderItsKey: empty, in one part or in several; and what the
// store had of it goes when it is settled.
func TestAFileAppearsUnderItsKey(t *testing.T) {
	nodes, server := publishers(t, 2)
	var keys []string
	for _, size := range []int{0, 1000, 12 << 20} {
		data := bytes.Repeat([]byte("wsingest"), size/8)
		id := complete(t, nodes[0], data)
		key := fmt.Sprintf("files/2026/%d.txt", size)
		keys = append(keys, publishAs(t, nodes[1], id, key, resume.ConflictFail))
		under(t, server, key, data)
		if st, err := nodes[0].Stat(t.Context(), id); err != nil || st.Phase != resume.Complete {
			t.Fatalf("phase %s, %v", st.Phase, err)
		}
		if err := nodes[0].Settle(t.Context(), id, nil); err != nil {
			t.Fatal(err)
		}
		under(t, server, key, data)
	}
	only(t, server, keys...)
}

// TestPublishingAgainFindsTheSameKey: on another node, after a crash before it
// was written down that the object is there, and after somebody took it away.
func TestPublishingAgainFindsTheSameKey(t *testing.T) {
	nodes, server := publishers(t, 2)
	data := []byte("abc")
	publishAs(t, nodes[0], complete(t, nodes[0], data), "files/a.tar.gz", resume.ConflictRename)
	id := complete(t, nodes[0], data)
	const second = "files/a (1).tar.gz"
	err := nodes[0].inTurn(t.Context(), id, func(u *upload) error {
		return u.publishAs(published{Key: second, Mark: "mark"}, false)
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*Store{nodes[1], nodes[0], nodes[1]} {
		if key := publishAs(t, s, id, "files/a.tar.gz", resume.ConflictRename); key != second {
			t.Errorf("it is under %s, expected %s", key, second)
		}
	}
	only(t, server, "files/a.tar.gz", second)
	if err := server.Client(t).RemoveObject(t.Context(), "uploads", second, minio.RemoveObjectOptions{}); err != nil {
		t.Fatal(err)
	}
	if key := publishAs(t, nodes[0], id, "files/a.tar.gz", resume.ConflictRename); key != second {
		t.Errorf("it is under %s, expected %s", key, second)
	}
	only(t, server, "files/a.tar.gz")
}

// TestAKeyThatIsTaken is kept, replaced, or left alone, as is asked for.
func TestAKeyThatIsTaken(t *testing.T) {
	nodes, server := publishers(t, 1)
	s := nodes[0]
	publishAs(t, s, complete(t, s, []byte("first")), "files/a", resume.ConflictFail)
	second := complete(t, s, []byte("second"))
	if _, err := s.PublishKey(t.Context(), second, "files/a", resume.ConflictFail); !errors.Is(err, resume.ErrExists) {
		t.Fatalf("PublishKey: %v", err)
	}
	under(t, server, "files/a", []byte("first"))
	publishAs(t, s, second, "files/a", resume.ConflictOverwrite)
	under(t, server, "files/a", []byte("second"))
	only(t, server, "files/a")
}

// TestNoTwoUploadsGetOneKey, from two nodes at the same moment.
func TestNoTwoUploadsGetOneKey(t *testing.T) {
	nodes, server := publishers(t, 2)
	const uploads = 8
	keys := make([]string, uploads)
	var all sync.WaitGroup
	for i := range uploads {
		id := complete(t, nodes[0], []byte{byte('0' + i)})
		all.Go(func() {
			var err error
			if keys[i], err = nodes[i%2].PublishKey(t.Context(), id, "files/a.txt", resume.ConflictRename); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for i, key := range keys {
		under(t, server, key, []byte{byte('0' + i)})
	}
	only(t, server, keys...)
}

func TestPublishKeyRefusesWhatIsNone(t *testing.T) {
	nodes, server := publishers(t, 1)
	s := nodes[0]
	id := complete(t, s, []byte("abc"))
	for _, key := range []string{"", "/a", "a/", "a//b", "../a", "a/./b", "a/..", "\xff", "state/records/x", "state/janitor"} {
		if _, err := s.PublishKey(t.Context(), id, key, resume.ConflictOverwrite); err == nil {
			t.Errorf("%q was taken", key)
		}
	}
	if _, err := s.PublishKey(t.Context(), id, "files/a", "sometimes"); err == nil {
		t.Error("an unknown conflict was taken")
	}
	if _, err := s.PublishKey(t.Context(), resume.NewID(), "files/a", resume.ConflictFail); !errors.Is(err, resume.ErrNotFound) {
		t.Errorf("PublishKey of nothing: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	c, err := s.Open(ctx, resume.OpenOptions{Info: resume.Info{ID: resume.NewID(), Length: 3}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := s.PublishKey(ctx, c.State().ID, "files/a", resume.ConflictFail); !errors.Is(err, resume.ErrNotComplete) {
		t.Errorf("PublishKey before the end: %v", err)
	}
	only(t, server)
}
