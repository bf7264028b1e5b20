package s3store_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/wsingest/wsingest/resume"
	"github.com/wsingest/wsingest/resume/s3store"
	"github.com/wsingest/wsingest/resume/s3store/s3test"
)

// long has tests use the counts that the promises speak of.
var long = os.Getenv("WSINGEST_LONG") != ""

func random(seed byte, n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

func node(t *testing.T, o s3store.Options) *s3store.Store {
	t.Helper()
	s, err := s3store.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

func patience(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func open(t *testing.T, s resume.Store, info resume.Info) resume.Claim {
	t.Helper()
	c, err := s.Open(patience(t), resume.OpenOptions{Info: info})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func write(t *testing.T, c resume.Claim, p []byte) {
	t.Helper()
	for len(p) > 0 {
		n := min(len(p), 300_000)
		if _, err := c.Write(p[:n]); err != nil {
			t.Fatalf("Write at %d: %v", c.Cursor(), err)
		}
		p = p[n:]
	}
}

func finish(t *testing.T, c resume.Claim, data []byte) {
	t.Helper()
	sum, crc := sha256.Sum256(data), resume.UpdateCRC32C(0, data)
	if _, err := c.Finish(patience(t), resume.FinishOptions{Length: int64(len(data)), SHA256: sum[:], CRC32C: &crc}); err != nil {
		t.Fatalf("Finish: %v", err)
	}
}

func holds(t *testing.T, s resume.Store, id resume.ID, data []byte) {
	t.Helper()
	f, err := s.Content(patience(t), id)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got, err := io.ReadAll(io.NewSectionReader(f, 0, f.Size()))
	if err != nil || !bytes.Equal(got, data) {
		t.Fatalf("the content has %d bytes (%v), expected %d, or differs", len(got), err, len(data))
	}
}

// leftovers returns the keys below a prefix, and the multipart uploads.
func leftovers(t *testing.T, server *s3test.Server, prefix string) (keys []string) {
	t.Helper()
	c := server.Client(t)
	for o := range c.ListObjects(t.Context(), "uploads", minio.ListObjectsOptions{Prefix: prefix, Recursive: true}) {
		if o.Err != nil {
			t.Fatal(o.Err)
		}
		keys = append(keys, o.Key)
	}
	for m := range c.ListIncompleteUploads(t.Context(), "uploads", prefix, true) {
		if m.Err != nil {
			t.Fatal(m.Err)
		}
		keys = append(keys, "multipart "+m.Key)
	}
	return keys
}

// small are options with the smallest parts.
func small(server *s3test.Server, prefix string) s3store.Options {
	o := options(server, prefix)
	o.PartSize = 5 << 20
	return o
}

// TestPartsOfEveryOrigin: in order, out of order, in lanes, in pieces with pauses
// between them, with an unknown length, over a restart, over a Rewind that goes
// back into a part: in the end there is one object, and nothing else.
func TestPartsOfEveryOrigin(t *testing.T) {
	server := s3test.Start(t)
	server.Bucket(t, "uploads")
	data := random(1, 23<<20)
	length := int64(len(data))
	lane := func(t *testing.T, s resume.Store, id resume.ID, from, to int64) resume.Claim {
		c, err := s.Open(patience(t), resume.OpenOptions{Info: resume.Info{ID: id, Length: length}, Range: resume.Range{Start: from, End: to}})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	for name, send := range map[string]func(t *testing.T, s, other resume.Store, id resume.ID) (last resume.Claim){
		"InOrder": func(t *testing.T, s, _ resume.Store, id resume.ID) resume.Claim {
			c := open(t, s, resume.Info{ID: id, Length: length, WantSHA256: true})
			write(t, c, data)
			return c
		},
		"UnknownLength": func(t *testing.T, s, _ resume.Store, id resume.ID) resume.Claim {
			c := open(t, s, resume.Info{ID: id, Length: resume.UnknownLength})
			write(t, c, data)
			return c
		},
		"WithPauses": func(t *testing.T, s, _ resume.Store, id resume.ID) resume.Claim {
			c := open(t, s, resume.Info{ID: id, Length: length, WantSHA256: true})
			for p := data; len(p) > 0; {
				n := min(len(p), 3_333_333)
				write(t, c, p[:n])
				if err := c.Sync(patience(t)); err != nil {
					t.Fatal(err)
				}
				p = p[n:]
			}
			return c
		},
		"Lanes": func(t *testing.T, s, _ resume.Store, id resume.ID) resume.Claim {
			half := length/2 + 12345
			a, b := lane(t, s, id, 0, half), lane(t, s, id, half, length)
			write(t, b, data[half:])
			write(t, a, data[:half])
			return a
		},
		"OtherNodes": func(t *testing.T, s, other resume.Store, id resume.ID) (c resume.Claim) {
			for i, to := range []int{6 << 20, 13 << 20, 13<<20 + 77, len(data)} {
				c = open(t, []resume.Store{s, other}[i%2], resume.Info{ID: id, Length: length})
				write(t, c, data[c.Cursor():to])
				if i < 3 {
					if err := c.Sync(patience(t)); err != nil {
						t.Fatal(err)
					}
				}
			}
			return c
		},
		"Rewind": func(t *testing.T, s, _ resume.Store, id resume.ID) resume.Claim {
			c := open(t, s, resume.Info{ID: id, Length: length, WantSHA256: true})
			write(t, c, data[:7<<20])
			c.Checkpoint()
			write(t, c, random(99, 9<<20))
			if err := c.Sync(patience(t)); err != nil {
				t.Fatal(err)
			}
			if at, err := c.Rewind(patience(t)); at != 7<<20 || err != nil || c.Durable() != 7<<20 {
				t.Fatalf("Rewind: %d, %v; durable %d", at, err, c.Durable())
			}
			write(t, c, data[7<<20:])
			return c
		},
		"WrongDigest": func(t *testing.T, s, _ resume.Store, id resume.ID) resume.Claim {
			// Not in order, so that the digest is known when the object is there only.
			b := lane(t, s, id, 11<<20, length)
			write(t, b, data[11<<20:])
			a := lane(t, s, id, 0, 11<<20)
			write(t, a, data[:10<<20])
			a.Checkpoint()
			write(t, a, random(98, 1<<20))
			sum := sha256.Sum256(data)
			if _, err := a.Finish(patience(t), resume.FinishOptions{Length: length, SHA256: sum[:]}); !errors.Is(err, resume.ErrDigestMismatch) {
				t.Fatalf("Finish with a wrong megabyte: %v", err)
			}
			if at, err := a.Rewind(patience(t)); at != 10<<20 || err != nil {
				t.Fatalf("Rewind: %d, %v", at, err)
			}
			write(t, a, data[10<<20:11<<20])
			return a
		},
	} {
		t.Run(name, func(t *testing.T) {
			prefix := name + "/"
			s, other := node(t, small(server, prefix)), node(t, small(server, prefix))
			id := resume.NewID()
			c := send(t, s, other, id)
			finish(t, c, data)
			for _, n := range []resume.Store{s, other} {
				holds(t, n, id, data)
			}
			if err := other.Settle(patience(t), id, []byte("taken")); err != nil {
				t.Fatal(err)
			}
			if st, err := s.Stat(patience(t), id); err != nil || len(st.Durable) != 1 {
				t.Fatalf("Stat: %+v, %v", st, err)
			}
			c.Close()
			if err := s.Delete(patience(t), id); err != nil {
				t.Fatal(err)
			}
			s.Close()
			other.Close()
			if left := leftovers(t, server, prefix); len(left) > 0 {
				t.Errorf("left in the bucket: %v", left)
			}
		})
	}
}

// TestTheNewestNodeWins: the older one's claim ends at its next write to the
// bucket, and nothing it took in after that counts.
func TestTheNewestNodeWins(t *testing.T) {
	server := s3test.Start(t)
	server.Bucket(t, "uploads")
	a, b := node(t, small(server, "")), node(t, small(server, ""))
	data := random(2, 12<<20)
	info := resume.Info{ID: resume.NewID(), Length: int64(len(data))}
	old := open(t, a, info)
	write(t, old, data[:6<<20])
	if err := old.Sync(patience(t)); err != nil {
		t.Fatal(err)
	}
	c := open(t, b, info)
	if c.Cursor() != 6<<20 {
		t.Fatalf("the other node goes on from %d", c.Cursor())
	}
	if _, err := old.Write(random(77, 5<<20)); err != nil && !errors.Is(err, resume.ErrSuperseded) {
		t.Fatal(err)
	}
	if err := old.Sync(patience(t)); !errors.Is(err, resume.ErrSuperseded) {
		t.Fatalf("Sync of the older: %v", err)
	}
	write(t, c, data[6<<20:])
	finish(t, c, data)
	holds(t, a, info.ID, data)
}

// TestOneOfTwoOpensAtOneMomentGoesOn, on two nodes, every time; and the object
// has one's bytes.
func TestOneOfTwoOpensAtOneMomentGoesOn(t *testing.T) {
	server := s3test.Start(t)
	server.Bucket(t, "uploads")
	nodes := []resume.Store{node(t, small(server, "")), node(t, small(server, ""))}
	rounds := 30
	if testing.Short() {
		rounds = 10
	}
	if long {
		rounds = 200
	}
	data := random(3, 200_000)
	for round := range rounds {
		info := resume.Info{ID: resume.NewID(), Length: int64(len(data))}
		if round%2 == 1 { // one that is there already
			c := open(t, nodes[round/2%2], info)
			write(t, c, data[:50_000])
			c.Close()
		}
		errs := make([]error, 2)
		var both, opened sync.WaitGroup
		opened.Add(len(nodes))
		start := make(chan struct{})
		for i, n := range nodes {
			both.Go(func() {
				<-start
				errs[i] = sendAll(patience(t), n, info, data, &opened)
			})
		}
		close(start)
		both.Wait()
		won := 0
		for _, err := range errs {
			switch {
			case err == nil:
				won++
			case !errors.Is(err, resume.ErrSuperseded):
				t.Fatalf("round %d: %v", round, err)
			}
		}
		if won != 1 {
			t.Fatalf("round %d: %d went on (%v)", round, won, errs)
		}
		holds(t, nodes[round%2], info.ID, data)
	}
}

// sendAll opens an upload and, once all have opened it, sends it.
func sendAll(ctx context.Context, s resume.Store, info resume.Info, data []byte, opened *sync.WaitGroup) error {
	c, err := s.Open(ctx, resume.OpenOptions{Info: info})
	opened.Done()
	if err != nil {
		return err
	}
	defer c.Close()
	opened.Wait()
	for c.Cursor() < info.Length {
		if _, err := c.Write(data[c.Cursor():min(c.Cursor()+30_000, info.Length)]); err != nil {
			return err
		}
		if err := c.Sync(ctx); err != nil {
			return err
		}
	}
	_, err = c.Finish(ctx, resume.FinishOptions{Length: info.Length})
	return err
}
