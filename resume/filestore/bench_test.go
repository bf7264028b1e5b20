package filestore_test

import (
	"fmt"
	"testing"

	"github.com/wsingest/wsingest/resume"
	"github.com/wsingest/wsingest/resume/filestore"
)

// benchFile is how much goes into one upload before the next is begun.
const benchFile = 256 << 20

// BenchmarkWrite is the way of a byte through a claim, with the committer
// behind it. It must not allocate.
func BenchmarkWrite(b *testing.B) {
	for _, size := range []int{64 << 10, 256 << 10, 1 << 20} {
		for _, length := range []int64{benchFile, resume.UnknownLength} {
			kind := map[bool]string{true: "preallocated", false: "growing"}[length > 0]
			b.Run(fmt.Sprintf("%dKiB/%s", size>>10, kind), func(b *testing.B) {
				benchmarkWrite(b, size, length)
			})
		}
	}
}

func benchmarkWrite(b *testing.B, size int, length int64) {
	s := newStore(b, b.TempDir())
	p := make([]byte, size)
	var c resume.Claim
	begin := func() {
		if c != nil {
			must(b, c.Sync(b.Context()))
			must(b, s.Delete(b.Context(), c.State().ID))
		}
		var err error
		c, err = s.Open(b.Context(), resume.OpenOptions{Info: resume.Info{ID: resume.NewID(), Length: length}})
		must(b, err)
	}
	begin()
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for b.Loop() {
		if c.Cursor()+int64(size) > benchFile {
			b.StopTimer()
			begin()
			b.StartTimer()
		}
		if _, err := c.Write(p); err != nil {
			b.Fatal(err)
		}
	}
	must(b, c.Sync(b.Context()))
}

// TestWriteAllocatesNothing holds the hot path to it.
func TestWriteAllocatesNothing(t *testing.T) {
	s, err := filestore.New(t.TempDir(), filestore.Options{SyncInterval: 30e9, SyncBytes: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c, err := s.Open(t.Context(), resume.OpenOptions{Info: resume.Info{ID: resume.NewID(), Length: resume.UnknownLength}})
	if err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 16<<10)
	if _, err := c.Write(p); err != nil { // the first begins a run and wakes the committer
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(200, func() {
		if _, err := c.Write(p); err != nil {
			t.Error(err)
		}
	}); n != 0 {
		t.Fatalf("a Write allocates %v times", n)
	}
}

// BenchmarkCommit is one small write made durable.
func BenchmarkCommit(b *testing.B) {
	s := newStore(b, b.TempDir())
	c, err := s.Open(b.Context(), resume.OpenOptions{Info: resume.Info{ID: resume.NewID(), Length: 1 << 30}})
	must(b, err)
	p := make([]byte, 4096)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Write(p); err != nil {
			b.Fatal(err)
		}
		must(b, c.Sync(b.Context()))
	}
}

// BenchmarkSmallUpload is a whole upload of 4 KiB, from Open to Settle, alone
// and with others at the same time.
func BenchmarkSmallUpload(b *testing.B) {
	for _, at := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("%d_at_once", at), func(b *testing.B) {
			s := newStore(b, b.TempDir())
			p := make([]byte, 4096)
			b.SetParallelism(at)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					id := resume.NewID()
					c, err := s.Open(b.Context(), resume.OpenOptions{Info: resume.Info{ID: id, Length: 4096}})
					must(b, err)
					_, err = c.Write(p)
					must(b, err)
					_, err = c.Finish(b.Context(), resume.FinishOptions{Length: 4096})
					must(b, err)
					must(b, c.Close())
					must(b, s.Settle(b.Context(), id, nil))
				}
			})
		})
	}
}

func must(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Error(err)
	}
}
