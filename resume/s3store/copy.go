package s3store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"mime"
	"strings"
	"sync"

	"github.com/minio/minio-go/v7"
)

// destination is an object to be made for good.
type destination struct {
	key, mark string
	kind      string // media type
	replace   bool   // what is there
}

// markHeader is the metadata that says which attempt made an object.
const markHeader = "Wsingest-Mark"

func (d destination) options() minio.PutObjectOptions {
	o := minio.PutObjectOptions{ContentType: "application/octet-stream", UserMetadata: map[string]string{markHeader: d.mark}}
	if _, _, err := mime.ParseMediaType(d.kind); err == nil && len(d.kind) < 256 && !strings.ContainsFunc(d.kind, func(r rune) bool { return r < ' ' || r > '~' }) {
		o.ContentType = d.kind
	}
	return o
}

// condition adds what makes it appear only if nothing is there.
func (d destination) condition(o minio.PutObjectOptions) minio.PutObjectOptions {
	if !d.replace {
		o.SetMatchETagExcept("*")
	}
	return o
}

// copySize is how much is copied with one request; larger objects take larger
// ones.
const copySize = 256 << 20

// copyWhole copies an object within the storage: it appears when all of it is
// there. errCondition: something is there already.
func (b *bucket) copyWhole(ctx context.Context, from string, size, step int64, to destination) error {
	if size == 0 {
		return b.putEmpty(ctx, to)
	}
	step = max(step, (size+maxParts-1)/maxParts)
	id, err := b.beginAs(ctx, to.key, to.options())
	if err != nil {
		return err
	}
	m := &multipart{Key: to.key, UploadID: id}
	parts, err := b.copyParts(ctx, m, from, size, step)
	if err == nil {
		err = b.try(ctx, "complete "+m.Key, size, func(ctx context.Context) error {
			_, err := b.CompleteMultipartUpload(ctx, b.name, m.Key, m.UploadID, parts, to.condition(minio.PutObjectOptions{}))
			return err
		})
		if err == nil {
			err = b.isThere(ctx, to)
		}
	}
	if err != nil && !errors.Is(err, errNoUpload) {
		_ = b.abort(ctx, m) // else the lifecycle rule does
	}
	return err
}

// isThere looks whether it is: an answer may say so in error, see complete.
func (b *bucket) isThere(ctx context.Context, to destination) error {
	mark, err := b.mark(ctx, to.key)
	switch {
	case err != nil && !errors.Is(err, errNoKey):
		return err
	case mark != to.mark:
		return fmt.Errorf("%s is not there after it was made", to.key)
	}
	return nil
}

// copyParts makes parts of all of an object, a few at a time.
func (b *bucket) copyParts(ctx context.Context, m *multipart, from string, size, step int64) ([]minio.CompletePart, error) {
	n := int((size + step - 1) / step)
	parts, errs := make([]minio.CompletePart, n), make([]error, n)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	slots := make(chan struct{}, copiesInFlight)
	var all sync.WaitGroup
	for i := range n {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			off := int64(i) * step
			long := min(step, size-off)
			errs[i] = b.try(ctx, fmt.Sprintf("copy part %d of %s", i+1, m.Key), long, func(ctx context.Context) (err error) {
				parts[i], err = b.CopyObjectPart(ctx, b.name, from, b.name, m.Key, m.UploadID, i+1, off, long, nil)
				return err
			})
			if errs[i] != nil {
				stop()
			}
		})
	}
	all.Wait()
	return parts, errors.Join(errs...)
}

func (b *bucket) putEmpty(ctx context.Context, to destination) error {
	return b.try(ctx, "PUT "+to.key, 0, func(ctx context.Context) error {
		_, err := b.putSmall(ctx, to.key, nil, to.condition(to.options()))
		return err
	})
}

// mark returns that of an object, "" if it has none.
func (b *bucket) mark(ctx context.Context, key string) (mark string, err error) {
	err = b.try(ctx, "HEAD "+key, 0, func(ctx context.Context) error {
		info, err := b.StatObject(ctx, b.name, key, minio.StatObjectOptions{})
		mark = info.UserMetadata[markHeader]
		return err
	})
	return mark, err
}

// completesOnce finds out, the first time, whether the storage heeds a condition
// when a multipart upload is completed.
func (s *Store) completesOnce() error {
	s.completes.Lock()
	defer s.completes.Unlock()
	if s.completesKnown || s.opts.Weak {
		return nil
	}
	key := s.opts.Prefix + "probe/" + s.node
	b := s.bucket
	if err := b.put(s.work, key, 0, 0, noBody); err != nil {
		return err
	}
	defer func() { _ = b.remove(s.work, key) }()
	id, err := b.beginAs(s.work, key, minio.PutObjectOptions{})
	if err != nil {
		return err
	}
	m := &multipart{Key: key, UploadID: id}
	var part minio.ObjectPart
	err = b.try(s.work, "PUT part 1 of "+key, 1, func(ctx context.Context) (err error) {
		part, err = b.PutObjectPart(ctx, b.name, key, id, 1, bytes.NewReader([]byte("a")), 1, minio.PutObjectPartOptions{})
		return err
	})
	if err == nil {
		err = b.try(s.work, "complete "+key, 0, func(ctx context.Context) error {
			_, err := b.CompleteMultipartUpload(ctx, b.name, key, id,
				[]minio.CompletePart{{PartNumber: 1, ETag: part.ETag}}, destination{}.condition(minio.PutObjectOptions{}))
			return err
		})
	}
	switch {
	case err == nil:
		return fmt.Errorf("%w (If-None-Match of a multipart upload; files can be overwritten only)", ErrNoConditions)
	case !errors.Is(err, errCondition):
		return errors.Join(err, b.abort(s.work, m))
	}
	s.completesKnown = true
	return b.abort(s.work, m)
}
