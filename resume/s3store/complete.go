package s3store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/minio/minio-go/v7"
)

// wanted is a part that is to be in the object.
type wanted struct {
	index int
	size  int64
}

// complete makes an object of the wanted parts, in order. The list of parts in
// the bucket is the truth about them. Done by somebody already is done: nobody
// completes a multipart upload but with the parts of its record, so an object
// of that size is the one.
func (b *bucket) complete(ctx context.Context, m *multipart, want []wanted) error {
	var total int64
	for _, w := range want {
		total += w.size
	}
	// A list that does not fit may be an old one, or damaged on the way.
	const tries = 4
	for i := 1; ; i++ {
		err := b.completeOnce(ctx, m, want)
		if errors.Is(err, errNoUpload) {
			n, headErr := b.size(ctx, m.Key)
			if headErr == nil && n == total {
				return nil
			}
			return errors.Join(err, headErr)
		}
		if err == nil || i == tries || !errors.Is(err, errParts) {
			return err
		}
		select {
		case <-time.After(time.Duration(i) * firstPause):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

var errParts = errors.New("the storage does not have the parts it took")

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
