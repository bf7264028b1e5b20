package s3store

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/minio/minio-go/v7"

	"github.com/wsingest/wsingest/resume"
)

// ErrNoConditions: the storage takes a write whose condition does not hold. Two
// nodes cannot be kept apart on it.
var ErrNoConditions = errors.New("the storage ignores conditions on writes (If-Match, If-None-Match), so it cannot keep two nodes apart; the option Weak takes it all the same")

// probe finds out what the storage can do, with an object of its own.
func (s *Store) probe(ctx context.Context) error {
	key := s.opts.Prefix + "probe/" + s.node
	if err := s.bucket.put(ctx, key, 0, 0, noBody); err != nil {
		// It may be the checksum that it does not know.
		s.bucket.sums = false
		if plain := s.bucket.putUnsummed(ctx, key, 0, noBody); plain != nil {
			return errors.Join(err, plain)
		}
	}
	defer func() { _ = s.bucket.remove(ctx, key) }()
	if s.bucket.sums {
		s.bucket.sums = s.comparesSums(ctx, key)
	}
	if !s.bucket.sums {
		s.log.Warn("the storage does not compare CRC-32C: bytes damaged on the way to it are noticed at the end of an upload only, by who asks for a SHA-256")
	}
	if s.opts.Weak {
		return nil
	}
	for what, etag := range map[string]string{"If-None-Match": "", "If-Match": "0123456789abcdef0123456789abcdef"} {
		err := s.bucket.try(ctx, "PUT "+key, 0, func(ctx context.Context) error {
			_, err := s.bucket.putIf(ctx, key, nil, etag)
			return err
		})
		var answer minio.ErrorResponse
		switch {
		case err == nil:
			return fmt.Errorf("%w (%s)", ErrNoConditions, what)
		case errors.Is(err, errCondition):
		case errors.As(err, &answer) && answer.Code == "NotImplemented":
			return fmt.Errorf("%w (%s: %w)", ErrNoConditions, what, err)
		default:
			return err
		}
	}
	return nil
}

func noBody(context.Context) io.Reader { return eof{} }

type eof struct{}

func (eof) Read([]byte) (int, error) { return 0, io.EOF }

// comparesSums sends one byte with a sum that is another's.
func (s *Store) comparesSums(ctx context.Context, key string) bool {
	o := minio.PutObjectOptions{UserMetadata: map[string]string{"x-amz-checksum-crc32c": encodeCRC(resume.UpdateCRC32C(0, []byte("a")))}}
	_, err := s.bucket.putSmall(ctx, key, []byte("b"), o)
	return err != nil
}

// putUnsummed is put without a checksum for the storage to compare.
func (b *bucket) putUnsummed(ctx context.Context, key string, size int64, body func(context.Context) io.Reader) error {
	return b.try(ctx, "PUT "+key, size, func(ctx context.Context) error {
		_, err := b.PutObject(ctx, b.name, key, body(ctx), size, "", "", minio.PutObjectOptions{ContentType: "application/octet-stream"})
		return err
	})
}
