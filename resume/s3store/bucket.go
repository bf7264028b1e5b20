package s3store

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/minio/minio-go/v7"
	"go.uber.org/zap"
)

// What a request may answer that is no fault.
var (
	errNoKey     = errors.New("no such object")
	errNoUpload  = errors.New("no such multipart upload")
	errCondition = errors.New("the object has changed meanwhile")
)

// bucket makes the requests, each of them again while it fails for a reason
// that may pass.
type bucket struct {
	*minio.Core
	name     string
	retryFor time.Duration
	sums     bool // the storage compares CRC-32C
	log      *zap.Logger
	failing  atomic.Int64 // requests that are being tried again
}

func newBucket(o Options) (*bucket, error) {
	if o.Transport == nil {
		o.Transport = &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
			MaxIdleConnsPerHost:   64,
			IdleConnTimeout:       time.Minute,
			TLSHandshakeTimeout:   10 * time.Second,
			ExpectContinueTimeout: time.Second,
			DisableCompression:    true,
		}
	}
	core, err := minio.NewCore(o.Endpoint, &minio.Options{
		Creds: o.Credentials, Secure: !o.Insecure, Region: o.Region, Transport: o.Transport,
		MaxRetries: 1, // tried again here, where it can be told what counts
	})
	if err != nil {
		return nil, fmt.Errorf("s3store: %w", err)
	}
	return &bucket{Core: core, name: o.Bucket, retryFor: o.RetryFor, sums: true, log: o.Logger}, nil
}

// Waits between tries.
const (
	firstPause = 50 * time.Millisecond
	lastPause  = 2 * time.Second
)

// patience is how long one try may take: a storage that says nothing for so
// long will not, and a body may be as slow as 256 KiB/s.
func patience(size int64) time.Duration {
	return 15*time.Second + time.Duration(size/(256<<10))*time.Second
}

// try makes a request until it succeeds, fails for good, or has been tried for
// retryFor. size is that of its body.
func (b *bucket) try(ctx context.Context, what string, size int64, request func(context.Context) error) error {
	begun, pause := time.Now(), firstPause
	for tries := 0; ; tries++ {
		once, cancel := context.WithTimeout(ctx, patience(size))
		err := classify(request(once))
		cancel()
		if err == nil || !passing(err) || ctx.Err() != nil {
			return wrapRequest(what, err)
		}
		if time.Since(begun) > b.retryFor {
			return wrapRequest(what, fmt.Errorf("tried for %v: %w", b.retryFor, err))
		}
		if tries == 0 {
			b.failing.Add(1)
			defer b.failing.Add(-1)
		}
		b.log.Debug("request to the storage fails; it is tried again", zap.String("request", what), zap.Error(err))
		select {
		case <-time.After(pause/2 + rand.N(pause)):
		case <-ctx.Done():
			return wrapRequest(what, context.Cause(ctx))
		}
		pause = min(2*pause, lastPause)
	}
}

func wrapRequest(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}

// classify gives the answers that are no faults their names.
func classify(err error) error {
	var answer minio.ErrorResponse
	if !errors.As(err, &answer) {
		return err
	}
	switch answer.Code {
	case "NoSuchKey", "NotFound":
		return errNoKey
	case "NoSuchUpload":
		return errNoUpload
	case "PreconditionFailed":
		return errCondition
	}
	return err
}

// passing reports whether a request that failed so may succeed later. What the
// storage refuses for what it is, it will refuse again; but not what says that
// bytes were damaged on the way, nor that somebody else writes just now.
func passing(err error) bool {
	if errors.Is(err, errNoKey) || errors.Is(err, errNoUpload) || errors.Is(err, errCondition) || errors.Is(err, errCopySum) {
		return false
	}
	var answer minio.ErrorResponse
	if !errors.As(err, &answer) {
		return true
	}
	switch answer.Code {
	case "BadDigest", "XAmzContentChecksumMismatch", "XAmzContentSHA256Mismatch", "IncompleteBody", "RequestTimeout", "ConditionalRequestConflict", "OperationAborted":
		return true
	case "NotImplemented":
		return false
	}
	switch s := answer.StatusCode; s {
	case http.StatusRequestTimeout, http.StatusConflict, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	default:
		return s < 400 || s >= 500
	}
}

// get reads a small object whole.
func (b *bucket) get(ctx context.Context, key string) (body []byte, etag string, err error) {
	err = b.try(ctx, "GET "+key, 0, func(ctx context.Context) error {
		r, info, _, err := b.GetObject(ctx, b.name, key, minio.GetObjectOptions{})
		if err != nil {
			return err
		}
		defer r.Close()
		body, err = io.ReadAll(r)
		if err == nil && int64(len(body)) != info.Size {
			err = io.ErrUnexpectedEOF
		}
		etag = info.ETag
		return err
	})
	return body, etag, err
}

// readAt fills p from off of an object.
func (b *bucket) readAt(ctx context.Context, key string, p []byte, off int64) error {
	return b.try(ctx, "GET "+key, int64(len(p)), func(ctx context.Context) error {
		r, err := b.open(ctx, key, off, int64(len(p)))
		if err != nil {
			return err
		}
		defer r.Close()
		_, err = io.ReadFull(r, p)
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return err
	})
}

// copyTo reads n bytes from off of an object into w, which takes everything. A
// try that fails goes on where it got to.
func (b *bucket) copyTo(ctx context.Context, w io.Writer, key string, off, n int64) error {
	for n > 0 {
		err := b.try(ctx, "GET "+key, n, func(ctx context.Context) error {
			r, err := b.open(ctx, key, off, n)
			if err != nil {
				return err
			}
			defer r.Close()
			k, err := io.Copy(w, io.LimitReader(r, n))
			off, n = off+k, n-k
			switch {
			case k > 0:
				return nil
			case err == nil:
				err = io.ErrUnexpectedEOF
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// open returns n bytes from off of an object as they come. It tries once.
func (b *bucket) open(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	var o minio.GetObjectOptions
	if err := o.SetRange(off, off+n-1); err != nil {
		return nil, err
	}
	r, _, _, err := b.GetObject(ctx, b.name, key, o)
	return r, err
}

// putIf writes a small object if etag is the one it has; "" means that it is
// not there.
func (b *bucket) putIf(ctx context.Context, key string, body []byte, etag string) (newETag string, err error) {
	o := minio.PutObjectOptions{ContentType: "application/json"}
	if etag == "" {
		o.SetMatchETagExcept("*")
	} else {
		o.SetMatchETag(etag)
	}
	return b.putSmall(ctx, key, body, o)
}

func (b *bucket) putSmall(ctx context.Context, key string, body []byte, o minio.PutObjectOptions) (etag string, err error) {
	once, cancel := context.WithTimeout(ctx, patience(int64(len(body))))
	defer cancel()
	info, err := b.PutObject(once, b.name, key, bytes.NewReader(body), int64(len(body)), "", "", o)
	return info.ETag, classify(err)
}

// put writes an object that nobody else writes. body is called for every try.
func (b *bucket) put(ctx context.Context, key string, size int64, crc uint32, body func(context.Context) io.Reader) error {
	return b.try(ctx, "PUT "+key, size, func(ctx context.Context) error {
		o := minio.PutObjectOptions{ContentType: "application/octet-stream"}
		if b.sums {
			o.UserMetadata = map[string]string{"x-amz-checksum-crc32c": encodeCRC(crc)}
			o.DisableContentSha256 = true // one sum is enough, and its header is signed
		}
		_, err := b.PutObject(ctx, b.name, key, body(ctx), size, "", "", o)
		return err
	})
}

func encodeCRC(crc uint32) string {
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, crc))
}

// begin makes a multipart upload.
func (b *bucket) begin(ctx context.Context, key string) (id string, err error) {
	o := minio.PutObjectOptions{ContentType: "application/octet-stream"}
	if b.sums {
		o.UserMetadata = map[string]string{"X-Amz-Checksum-Algorithm": "CRC32C"}
	}
	return b.beginAs(ctx, key, o)
}

func (b *bucket) beginAs(ctx context.Context, key string, o minio.PutObjectOptions) (id string, err error) {
	err = b.try(ctx, "begin multipart upload "+key, 0, func(ctx context.Context) error {
		id, err = b.NewMultipartUpload(ctx, b.name, key, o)
		return err
	})
	return id, err
}

// putPart uploads part i, counted from 0.
func (b *bucket) putPart(ctx context.Context, m *multipart, i int, size int64, crc uint32, body func(context.Context) io.Reader) error {
	return b.try(ctx, fmt.Sprintf("PUT part %d of %s", i+1, m.Key), size, func(ctx context.Context) error {
		o := minio.PutObjectPartOptions{}
		if b.sums {
			o.CustomHeader = http.Header{"X-Amz-Checksum-Crc32c": {encodeCRC(crc)}}
			o.DisableContentSha256 = true
		}
		_, err := b.PutObjectPart(ctx, b.name, m.Key, m.UploadID, i+1, body(ctx), size, o)
		return err
	})
}

// copyPart makes part i of bytes that an object has.
func (b *bucket) copyPart(ctx context.Context, m *multipart, i int, from string, off, size int64) error {
	err := b.try(ctx, fmt.Sprintf("copy part %d of %s", i+1, m.Key), size, func(ctx context.Context) error {
		_, err := b.CopyObjectPart(ctx, b.name, from, b.name, m.Key, m.UploadID, i+1, off, size, nil)
		return err
	})
	if err != nil || !b.sums {
		return err
	}
	return b.try(ctx, fmt.Sprintf("list part %d of %s", i+1, m.Key), 0, func(ctx context.Context) error {
		page, err := b.ListObjectParts(ctx, b.name, m.Key, m.UploadID, i, 1)
		if err != nil {
			return err
		}
		if len(page.ObjectParts) == 0 || len(page.ObjectParts[0].ChecksumCRC32C) != len(encodeCRC(0)) {
			return errCopySum
		}
		return nil
	})
}

// errCopySum: the storage gave a copied part a sum that is not its own, and
// will not take it when the upload is completed. versitygw 1.8.0 does so when
// the source was made of parts itself.
var errCopySum = errors.New("a copied part has no checksum of its own")

// parts lists what a multipart upload has.
func (b *bucket) parts(ctx context.Context, m *multipart) (map[int]minio.ObjectPart, error) {
	parts := map[int]minio.ObjectPart{}
	for marker := 0; ; {
		var page minio.ListObjectPartsResult
		err := b.try(ctx, "list parts of "+m.Key, 0, func(ctx context.Context) (err error) {
			page, err = b.ListObjectParts(ctx, b.name, m.Key, m.UploadID, marker, 1000)
			return err
		})
		if err != nil {
			return nil, err
		}
		for _, p := range page.ObjectParts {
			parts[p.PartNumber-1] = p
		}
		if !page.IsTruncated || page.NextPartNumberMarker <= marker {
			return parts, nil
		}
		marker = page.NextPartNumberMarker
	}
}

// size returns that of an object.
func (b *bucket) size(ctx context.Context, key string) (n int64, err error) {
	err = b.try(ctx, "HEAD "+key, 0, func(ctx context.Context) error {
		info, err := b.StatObject(ctx, b.name, key, minio.StatObjectOptions{})
		n = info.Size
		return err
	})
	return n, err
}

// remove deletes an object; one that is not there is deleted already.
func (b *bucket) remove(ctx context.Context, key string) error {
	err := b.try(ctx, "DELETE "+key, 0, func(ctx context.Context) error {
		return b.RemoveObject(ctx, b.name, key, minio.RemoveObjectOptions{})
	})
	if errors.Is(err, errNoKey) {
		return nil
	}
	return err
}

func (b *bucket) abort(ctx context.Context, m *multipart) error {
	err := b.try(ctx, "abort multipart upload "+m.Key, 0, func(ctx context.Context) error {
		return b.AbortMultipartUpload(ctx, b.name, m.Key, m.UploadID)
	})
	if errors.Is(err, errNoUpload) {
		return nil
	}
	return err
}
