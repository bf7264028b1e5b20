package caddymodule_test

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/minio/minio-go/v7"

	"github.com/wsingest/wsingest/resume/client"
	"github.com/wsingest/wsingest/resume/s3store/s3test"
)

// withBucket makes caddyBinary one that knows the store s3.
func withBucket(t *testing.T) {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "caddy")
	run(t, "..", nil, "go", "build", "-o", binary, "./examples/caddy/nodes")
	swap(t, &caddyBinary, binary)
}

const bucketSite = `http://localhost:{{port}} {
	ws_ingest /upload/* {
		store s3 uploads {
			endpoint http://{env.S3}
			access_key ` + s3test.AccessKey + `
			secret_key ` + s3test.SecretKey + `
		}
		deliver file PATH {
			on_conflict rename
		}
	}
}`

// TestAFileIsPublishedUnderAKey: with a store in a bucket, deliver file makes
// objects, and the clients are told what they are called.
func TestAFileIsPublishedUnderAKey(t *testing.T) {
	if testing.Short() {
		t.Skip("another Caddy is built, and the same under the race detector")
	}
	bucket := s3test.Start(t)
	bucket.Bucket(t, "uploads")
	withBucket(t)
	s := newServer(t)
	s.env = []string{"S3=" + bucket.Endpoint}
	s.start(strings.Replace(bucketSite, "PATH", "files/{http.request.uri.query.user}/{ws_ingest.name}", 1))
	for i, want := range []string{"ada/film.txt", "ada/film (1).txt"} {
		data := bytes.Repeat([]byte{byte('a' + i)}, 10_000)
		source := client.FromReaderAt(bytes.NewReader(data), int64(len(data)))
		source.Name = "film.txt"
		done, err := client.Upload(deadline(t), "http://localhost:"+s.port+"/upload/?user=ada", source, client.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if done.Location != want {
			t.Errorf("the client was told %q, expected %q", done.Location, want)
		}
		o, err := bucket.Client(t).GetObject(context.Background(), "uploads", "files/"+want, minio.GetObjectOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(o); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%s has %d bytes (%v), or others", want, len(got), err)
		}
		o.Close()
	}
	for path, says := range map[string]string{
		"/srv/{ws_ingest.name}": "not a key", "{ws_ingest.name}": "not a key", "files/": "no name",
	} {
		if err := s.load(strings.Replace(bucketSite, "PATH", path, 1)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("deliver file %s: %v", path, err)
		}
	}
	owned := strings.Replace(strings.Replace(bucketSite, "PATH", "files/{ws_ingest.name}", 1), "on_conflict rename", "mode 0640", 1)
	if err := s.load(owned); err == nil || !strings.Contains(err.Error(), "mode, chown and sidecar are for files") {
		t.Errorf("a mode of an object: %v", err)
	}
	if _, err := os.Stat("files"); err == nil {
		t.Error("a directory was made on the disk")
	}
}
