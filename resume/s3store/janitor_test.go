package s3store

import (
	"testing"
	"time"

	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/wsingest/wsingest/resume"
	"github.com/wsingest/wsingest/resume/s3store/s3test"
)

// TestOneNodeRemovesWhatHasExpired: an upload that was abandoned, with its parts
// and objects, and the answer to one that was delivered; not one that is open,
// nor one that waits to be delivered. Only the node with the lease does.
func TestOneNodeRemovesWhatHasExpired(t *testing.T) {
	server := s3test.Start(t)
	server.Bucket(t, "uploads")
	told := make(chan resume.State, 10)
	o := Options{
		Endpoint: server.Endpoint, Bucket: "uploads", Insecure: true, PartSize: 5 << 20,
		Credentials:  credentials.NewStaticV4(s3test.AccessKey, s3test.SecretKey, ""),
		ScanInterval: Never, ExpireUnfinished: time.Second, ExpireDelivered: time.Second,
		OnExpire: func(st resume.State) { told <- st },
	}
	nodes := make([]*Store, 2)
	for i := range nodes {
		s, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		s.opts.ScanInterval = time.Hour // how long a lease is for
		nodes[i] = s
	}
	s := nodes[0]
	begin := func(p []byte) (resume.ID, resume.Claim) {
		id := resume.NewID()
		c, err := s.Open(t.Context(), resume.OpenOptions{Info: resume.Info{ID: id, Length: 7 << 20}})
		if err == nil {
			_, err = c.Write(p)
		}
		if err == nil {
			err = c.Sync(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
		return id, c
	}
	end := func(c resume.Claim) {
		if _, err := c.Finish(t.Context(), resume.FinishOptions{Length: 7 << 20}); err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	abandoned, c := begin(make([]byte, 6<<20))
	c.Close()
	delivered, c := begin(make([]byte, 7<<20))
	end(c)
	if err := s.Settle(t.Context(), delivered, nil); err != nil {
		t.Fatal(err)
	}
	waiting, c := begin(make([]byte, 7<<20))
	end(c)
	opened, _ := begin([]byte("open"))

	for {
		st, err := s.Stat(t.Context(), opened)
		if err != nil {
			t.Fatal(err)
		}
		if expired(st) {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if mine, err := nodes[0].takeLease(t.Context()); !mine || err != nil {
		t.Fatalf("the first node has the lease: %v, %v", mine, err)
	}
	if mine, err := nodes[1].takeLease(t.Context()); mine || err != nil {
		t.Fatalf("the second node has it as well: %v, %v", mine, err)
	}
	if err := s.clean(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := map[resume.ID]bool{abandoned: false, delivered: false, waiting: true, opened: true}
	for id, kept := range want {
		if _, err := nodes[1].Stat(t.Context(), id); (err == nil) != kept {
			t.Errorf("Stat: %v; expected to be kept: %v", err, kept)
		}
	}
	if len(told) != 2 {
		t.Errorf("OnExpire was told of %d uploads, expected 2", len(told))
	}
	s.sweeping.Wait()
	for object, err := range s.bucket.list(t.Context(), "data/") {
		if err != nil {
			t.Fatal(err)
		}
		if id, ok := s.owner(object.Key); !ok || !want[id] {
			t.Errorf("%s is left", object.Key)
		}
	}
}
