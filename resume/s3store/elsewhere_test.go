package s3store_test

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/wsingest/wsingest/resume"
	"github.com/wsingest/wsingest/resume/s3store"
	"github.com/wsingest/wsingest/resume/storetest"
)

// TestAnotherStorageKeepsTheContract is the suite against a storage that is
// there already, such as MinIO, if WSINGEST_S3 names one with a bucket:
//
//	WSINGEST_S3=http://KEY:SECRET@localhost:9000/bucket go test -run AnotherStorage ./resume/s3store
//
// All that it writes begins with wsingest-test, and is removed. A region goes
// behind it, as in bucket?region=eu-west-1.
func TestAnotherStorageKeepsTheContract(t *testing.T) {
	at := os.Getenv("WSINGEST_S3")
	if at == "" {
		t.Skip("WSINGEST_S3 names no other storage than TestKeepsTheContractOfAStore has")
	}
	o := named(t, at)
	prefix := "wsingest-test-" + string(resume.NewID()) + "/"
	t.Cleanup(func() { removeAll(t, o, prefix) })
	var n atomic.Int32
	storetest.Run(t, func(t *testing.T) storetest.Backend {
		o := o
		o.Prefix = fmt.Sprintf("%s%d/", prefix, n.Add(1))
		return storetest.Backend{Open: func() (resume.Store, error) { return s3store.New(o) }}
	})
	o.Prefix = prefix
	s := node(t, o)
	for i, want := range []string{"a.txt", "a (1).txt"} {
		data := random(byte(i), 100_000)
		c := open(t, s, resume.Info{ID: resume.NewID(), Length: int64(len(data))})
		write(t, c, data)
		finish(t, c, data)
		key, err := s.PublishKey(patience(t), c.State().ID, prefix+"files/a.txt", resume.ConflictRename)
		if err != nil || key != prefix+"files/"+want {
			t.Errorf("file %d is under %q, %v", i, key, err)
		}
	}
}

// named are the options of a storage that a URL says all about.
func named(t *testing.T, at string) s3store.Options {
	t.Helper()
	u, err := url.Parse(at)
	if err != nil || u.User == nil || strings.Trim(u.Path, "/") == "" {
		t.Fatal("WSINGEST_S3 is no URL such as http://KEY:SECRET@localhost:9000/bucket")
	}
	secret, _ := u.User.Password()
	return s3store.Options{
		Endpoint: u.Host, Insecure: u.Scheme == "http", Bucket: strings.Trim(u.Path, "/"),
		Region: u.Query().Get("region"), Credentials: credentials.NewStaticV4(u.User.Username(), secret, ""),
		SyncInterval: 50 * time.Millisecond, ScanInterval: s3store.Never,
	}
}

func removeAll(t *testing.T, o s3store.Options, prefix string) {
	c, err := minio.New(o.Endpoint, &minio.Options{Creds: o.Credentials, Secure: !o.Insecure, Region: o.Region})
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	for object := range c.ListObjects(ctx, o.Bucket, minio.ListObjectsOptions{Prefix: prefix, Recursive: true}) {
		if err := c.RemoveObject(ctx, o.Bucket, object.Key, minio.RemoveObjectOptions{}); err != nil {
			t.Error(err)
		}
	}
	for m := range c.ListIncompleteUploads(ctx, o.Bucket, prefix, true) {
		if err := c.RemoveIncompleteUpload(ctx, o.Bucket, m.Key); err != nil {
			t.Error(err)
		}
	}
}
