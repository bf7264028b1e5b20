package caddymodule_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/wsingest/wsingest/resume"
	"github.com/wsingest/wsingest/resume/client"
	"github.com/wsingest/wsingest/resume/s3store"
	"github.com/wsingest/wsingest/resume/s3store/s3test"
)

// TestUploadsGoOnOnAnyNode: two Caddys on one bucket behind a balancer; one is
// killed every few seconds, and the bucket goes away for a while. Every upload
// of every client arrives, and its digest is right.
func TestUploadsGoOnOnAnyNode(t *testing.T) {
	if testing.Short() {
		t.Skip("the nodes are processes of their own, and the same under the race detector")
	}
	lasts, every, outage, clients := 12*time.Second, 3*time.Second, time.Second, 6
	if long {
		lasts, every, outage, clients = 3*time.Minute, 5*time.Second, 10*time.Second, 20
	}
	bucket := s3test.Start(t)
	bucket.Bucket(t, "uploads")
	withBucket(t)
	app := newBackend(t)
	nodes := make([]*server, 2)
	for i, name := range []string{"one", "two"} {
		config, err := os.ReadFile("../examples/caddy/nodes/" + name + ".Caddyfile")
		if err != nil {
			t.Fatal(err)
		}
		s := newServer(t)
		s.env = []string{"PORT=" + s.port, "ADMIN=" + s.admin, "APP=" + app.addr(), "S3=http://" + bucket.Endpoint,
			"AWS_ACCESS_KEY_ID=" + s3test.AccessKey, "AWS_SECRET_ACCESS_KEY=" + s3test.SecretKey}
		s.startAsIs(string(config))
		nodes[i] = s
	}
	front := balance(t, "localhost:"+nodes[0].port, "localhost:"+nodes[1].port)
	url := "://" + front.addr + "/upload/"

	over := make(chan struct{})
	sent := make(chan string, 10_000) // digests
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-over:
					return
				default:
				}
				data := make([]byte, 6<<20+i*1_500_000+n)
				rand.Read(data)
				err := sendAs(t.Context(), i, url, data)
				if err != nil {
					t.Errorf("client %d, upload %d: %v", i, n, err)
					return
				}
				sum := sha256.Sum256(data)
				sent <- hex.EncodeToString(sum[:])
			}
		})
	}
	began, kills := time.Now(), 0
	for ; time.Since(began) < lasts; kills++ {
		timer := time.NewTimer(every)
		<-timer.C
		if kills == 1 || long && kills == 20 {
			bucket.Stop()
			back := time.AfterFunc(outage, func() {
				if err := bucket.Run(); err != nil {
					t.Error(err)
				}
			})
			defer back.Stop()
		}
		s := nodes[kills%2]
		s.kill()
		config, _ := os.ReadFile(filepath.Join(s.dir, "Caddyfile"))
		s.startAsIs(string(config))
	}
	close(over)
	killed := time.Since(began)
	all.Wait()
	close(sent)
	t.Logf("the kills took %v, the last uploads came %v after them", killed, time.Since(began)-killed)

	took := map[string]bool{}
	for _, got := range app.seen() {
		took[got.digest] = true
	}
	uploads := 0
	for digest := range sent {
		uploads++
		if !took[digest] {
			t.Errorf("the app did not get the file with SHA-256 %s", digest)
		}
	}
	if uploads < clients {
		t.Errorf("only %d uploads were done by %d clients", uploads, clients)
	}
	t.Logf("%d uploads by %d clients, %d kills; the app got %d requests", uploads, clients, kills, len(app.seen()))
	fewSentAgain(t, front)
	for _, s := range nodes {
		s.kill()
	}
	nothingOpen(t, bucket)
	if long {
		nothingLeft(t, bucket)
	}
}

// sendAs sends a file with one of several kinds of clients, whichever is i's.
func sendAs(ctx context.Context, i int, url string, data []byte) error {
	if i%3 == 2 {
		return sendPlain(ctx, "ws"+url, data)
	}
	source := client.FromReaderAt(slow{data}, int64(len(data)))
	if i%4 == 1 { // live: it can be read once, and nobody knows where it ends
		source = client.FromReader(io.NewSectionReader(slow{data}, 0, int64(len(data))), client.UnknownSize)
	}
	_, err := client.Upload(ctx, "http"+url, source, client.Options{
		WantDigest: i%2 == 0,
		Retry:      client.Retry{MaxDelay: time.Second, GiveUpAfter: 90 * time.Second},
	})
	return err
}

// fewSentAgain: what a cut costs is a part and what the client was let send ahead.
func fewSentAgain(t *testing.T, b *balancer) {
	t.Helper()
	const part, socket = 8 << 20, 4 << 20 // a plain client has no window but the sockets
	again, most := b.resent(), int64(0)
	for _, a := range again {
		most = max(most, a.bytes)
		if a.bytes > part+max(a.window, socket) {
			t.Errorf("upload %s: %d bytes were sent again after one cut, with a window of %d", a.upload, a.bytes, a.window)
		}
	}
	t.Logf("%d cuts of uploads; the most that was sent again after one: %d KiB", len(again), most>>10)
}

// nothingOpen looks into the bucket: no upload is unfinished. What a node that
// was killed had written without a record of it is for the janitor.
func nothingOpen(t *testing.T, bucket *s3test.Server) {
	t.Helper()
	c := bucket.Client(t)
	named := 0
	for o := range c.ListObjects(t.Context(), "uploads", minio.ListObjectsOptions{Prefix: "records/", Recursive: true}) {
		if o.Err != nil {
			t.Fatal(o.Err)
		}
		body, err := c.GetObject(t.Context(), "uploads", o.Key, minio.GetObjectOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var r struct {
			Phase   resume.Phase
			Objects []any
		}
		if err := json.NewDecoder(body).Decode(&r); err != nil {
			t.Fatal(err)
		}
		body.Close()
		named += len(r.Objects)
		if r.Phase != resume.Delivered {
			t.Errorf("%s is %s", o.Key, r.Phase)
		}
	}
	orphans := 0
	for range c.ListObjects(t.Context(), "uploads", minio.ListObjectsOptions{Prefix: "data/", Recursive: true}) {
		orphans++
	}
	if named > 0 {
		t.Errorf("delivered uploads have %d objects still", named)
	}
	t.Logf("%d objects are left to the janitor", orphans)
}

// nothingLeft: the janitor of another node removes what the dead ones left, and
// then there is nothing of any upload but its answer.
func nothingLeft(t *testing.T, bucket *s3test.Server) {
	t.Helper()
	s, err := s3store.New(s3store.Options{
		Endpoint: bucket.Endpoint, Insecure: true, Bucket: "uploads", PartSize: 5 << 20, RetryFor: time.Second, ScanInterval: time.Second,
		Credentials: credentials.NewStaticV4(s3test.AccessKey, s3test.SecretKey, ""),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c := bucket.Client(t)
	within(t, 3*time.Minute, "the janitor to remove all bytes", func() bool {
		for range c.ListObjects(t.Context(), "uploads", minio.ListObjectsOptions{Prefix: "data/", Recursive: true}) {
			return false
		}
		for range c.ListIncompleteUploads(t.Context(), "uploads", "data/", true) {
			return false
		}
		return true
	})
}

// slow is a source that takes a second or so, so that kills meet it.
type slow struct{ data []byte }

func (s slow) ReadAt(p []byte, off int64) (int, error) {
	<-time.NewTimer(time.Duration(len(p)) * time.Second / (4 << 20)).C
	if off >= int64(len(s.data)) {
		return 0, io.EOF
	}
	n := copy(p, s.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// sendPlain is a client without the protocol, which comes back and goes on from
// where it is told.
func sendPlain(ctx context.Context, url string, data []byte) error {
	id := resume.NewID()
	var err error
	for range 60 {
		var done bool
		if done, err = sendPlainOnce(ctx, fmt.Sprintf("%s?id=%s&offset=resume&length=%d", url, id, len(data)), data); done {
			return nil
		}
		<-time.NewTimer(300 * time.Millisecond).C
	}
	return fmt.Errorf("60 connections were not enough: %w", err)
}

func sendPlainOnce(ctx context.Context, url string, data []byte) (done bool, err error) {
	once, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	c, _, err := websocket.Dial(once, url, nil)
	if err != nil {
		return false, err
	}
	defer c.CloseNow()
	for {
		_, text, err := c.Read(once)
		if err != nil {
			return false, err
		}
		var m struct {
			Type   string
			Cursor int64
		}
		if err := json.Unmarshal(text, &m); err != nil {
			return false, err
		}
		switch m.Type {
		case "done":
			return true, nil
		case "error":
			return false, fmt.Errorf("%s", text)
		case "ready":
			for p := data[m.Cursor:]; len(p) > 0; {
				n := min(len(p), 256<<10)
				if err := c.Write(once, websocket.MessageBinary, p[:n]); err != nil {
					return false, err
				}
				<-time.NewTimer(50 * time.Millisecond).C
				p = p[n:]
			}
		}
	}
}

// TestThePartThatIsS3sIsItsOwn: who keeps uploads on a disk links nothing of S3.
func TestThePartThatIsS3sIsItsOwn(t *testing.T) {
	list := exec.Command("go", "list", "-deps", "./middleware", "./resume/filestore", "./caddymodule", "./examples/caddy")
	list.Dir = ".."
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(out), "minio-go") || strings.Contains(string(out), "s3store") {
		t.Error("they depend on the S3 store")
	}
}
