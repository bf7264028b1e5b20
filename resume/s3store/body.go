package s3store

import (
	"bytes"
	"context"
	"errors"
	"hash/crc32"
	"io"
	"sync"

	"github.com/wsingest/wsingest/resume"
)

// body is bytes from several sources, for a request that may be made again.
type body struct {
	reader func(context.Context) io.Reader // for each try, as long as that lasts
	crc    uint32
	close  func() // gives up the memory they took
}

// readsAtOnce is how many objects are read at a time for one body.
const readsAtOnce = 8

// bring makes a body of sources. What is in objects is read into memory if the
// budget has room for it now. Waiting for room might be for oneself; so else it
// is read twice: for the checksum, and to be passed on.
func (s *Store) bring(ctx context.Context, from []source) (*body, error) {
	stored, size := int64(0), int64(0)
	for _, f := range from {
		size += f.End - f.Start
		if f.block == nil {
			stored += f.End - f.Start
		}
	}
	if stored > s.hold || stored > 0 && !s.memory.TryAcquire(stored) {
		return s.passOn(ctx, from, size)
	}
	close := func() { s.memory.Release(stored) }
	pieces, err := s.gather(ctx, from)
	if err != nil {
		close()
		return nil, err
	}
	var crc uint32
	for i, f := range from {
		if f.block != nil {
			crc = resume.CombineCRC32C(crc, f.block.crc, f.End-f.Start)
			continue
		}
		crc = resume.UpdateCRC32C(crc, pieces[i])
	}
	return &body{crc: crc, close: close, reader: func(context.Context) io.Reader {
		readers := make([]io.Reader, len(pieces))
		for i, p := range pieces {
			readers[i] = bytes.NewReader(p)
		}
		return io.MultiReader(readers...)
	}}, nil
}

// gather returns the bytes of every source.
func (s *Store) gather(ctx context.Context, from []source) ([][]byte, error) {
	pieces, errs := make([][]byte, len(from)), make([]error, len(from))
	slots := make(chan struct{}, readsAtOnce)
	var all sync.WaitGroup
	for i, f := range from {
		if f.block != nil {
			pieces[i] = f.block.buf
			continue
		}
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			pieces[i] = make([]byte, f.End-f.Start)
			errs[i] = s.bucket.readAt(ctx, f.key, pieces[i], f.off)
		})
	}
	all.Wait()
	return pieces, errors.Join(errs...)
}

// passOn is bring without memory.
func (s *Store) passOn(ctx context.Context, from []source, size int64) (*body, error) {
	b := &body{close: func() {}, reader: func(try context.Context) io.Reader {
		return &stream{ctx: try, b: s.bucket, from: from}
	}}
	err := s.bucket.try(ctx, "GET objects", size, func(try context.Context) error {
		h := crc32.New(resume.Castagnoli)
		_, err := io.Copy(h, b.reader(try))
		b.crc = h.Sum32()
		return err
	})
	return b, err
}

// stream reads sources one after the other.
type stream struct {
	ctx  context.Context
	b    *bucket
	from []source
	now  io.ReadCloser
	left int64
}

func (s *stream) Read(p []byte) (int, error) {
	for {
		if s.now != nil {
			n, err := s.now.Read(p[:min(int64(len(p)), s.left)])
			s.left -= int64(n)
			switch {
			case s.left == 0:
				s.now.Close()
				s.now = nil
				return n, nil
			case err == io.EOF:
				return n, io.ErrUnexpectedEOF
			}
			return n, err
		}
		if len(s.from) == 0 {
			return 0, io.EOF
		}
		next := s.from[0]
		s.from = s.from[1:]
		s.left = next.End - next.Start
		if next.block != nil {
			s.now = io.NopCloser(bytes.NewReader(next.block.buf))
			continue
		}
		r, err := s.b.open(s.ctx, next.key, next.off, s.left)
		if err != nil {
			return 0, err
		}
		s.now = r
	}
}
