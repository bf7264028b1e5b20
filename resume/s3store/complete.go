package s3store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/wsingest/wsingest/resume"
)

// wanted is a part that is to be in the object.
type wanted struct {
	index int
	size  int64
}

// complete makes an object of the wanted parts, in order. The list of parts in
// the bucket is the truth about them, and the object is about whether it is
// done: nobody completes a multipart upload but with the parts of its record, so
// an object of that size is the one, whoever made it. versitygw 1.8.0 answers
// that all is well when it is asked again for what it was killed in.
func (b *bucket) complete(ctx context.Context, m *multipart, want []wanted) error {
	var total int64
	for _, w := range want {
		total += w.size
	}
	// A list that does not fit may be an old one, or damaged on the way, and where
	// there is neither list nor object, somebody may be making it.
	const tries = 8
	for i := 1; ; i++ {
		err := b.completeOnce(ctx, m, want)
		if err != nil && !errors.Is(err, errNoUpload) && !errors.Is(err, errParts) {
			return err
		}
		n, headErr := b.size(ctx, m.Key)
		switch {
		case headErr == nil && n == total:
			return nil
		case headErr == nil:
			return errors.Join(err, fmt.Errorf("%s has %d bytes, expected %d", m.Key, n, total))
		case !errors.Is(headErr, errNoKey):
			return errors.Join(err, headErr)
		case i == tries && errors.Is(err, errNoUpload):
			return fmt.Errorf("%w: %w", errLost, errors.Join(err, headErr))
		case i == tries:
			return errors.Join(err, headErr)
		}
		select {
		case <-time.After(time.Duration(i) * firstPause):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

var (
	errParts = errors.New("the storage does not have the parts it took")
	errLost  = errors.New("the storage has neither the parts it took nor an object of them")
)

// complete is that of the bucket, for the parts that the record has.
func (u *upload) complete(m *multipart, want []wanted) error {
	err := u.store.bucket.complete(u.store.work, m, want)
	if err != nil {
		err = u.whoWrote(err)
	}
	return u.store.missed(u.id, err)
}

// lostAfter is how long the bytes of an upload may be missing before it is given
// up: a storage may be busy with making an object of them for a node that died.
const lostAfter = 5 * time.Minute

// missed notes whether they are, and says what to make of it.
func (s *Store) missed(id resume.ID, err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	since, again := s.missing[id]
	switch {
	case !errors.Is(err, errLost):
		delete(s.missing, id)
	case !again:
		s.missing[id] = time.Now()
	case time.Since(since) > lostAfter:
		return fmt.Errorf("%w: %w", resume.ErrLost, err)
	}
	return err
}

func (b *bucket) completeOnce(ctx context.Context, m *multipart, want []wanted) error {
	have, err := b.parts(ctx, m)
	if err != nil {
		return err
	}
	var parts []minio.CompletePart
	var total int64
	for _, w := range want {
		p, ok := have[w.index]
		if !ok || p.Size != w.size {
			return fmt.Errorf("%w: part %d of %s has %d bytes, expected %d", errParts, w.index+1, m.Key, p.Size, w.size)
		}
		total += w.size
		parts = append(parts, minio.CompletePart{PartNumber: w.index + 1, ETag: p.ETag, ChecksumCRC32C: p.ChecksumCRC32C})
	}
	// Some copy all the bytes before they answer.
	err = b.try(ctx, "complete "+m.Key, total, func(ctx context.Context) error {
		_, err := b.CompleteMultipartUpload(ctx, b.name, m.Key, m.UploadID, parts, minio.PutObjectOptions{})
		return err
	})
	var answer minio.ErrorResponse
	if errors.As(err, &answer) && (answer.Code == "InvalidPart" || answer.Code == "InvalidPartOrder") {
		return fmt.Errorf("%w: %w", errParts, err)
	}
	return err
}
