package s3store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/wsingest/wsingest/resume"
)

// inTurn makes a change of an upload, anew if another node has made one
// meanwhile.
func (s *Store) inTurn(ctx context.Context, id resume.ID, change func(*upload) error) error {
	for {
		u, err := s.acquire(ctx, id)
		if err != nil {
			return err
		}
		err = u.takeTurn(ctx)
		if err == nil {
			u.mu.Lock()
			switch {
			case u.dead != nil:
				err = u.dead
			case !u.exists:
				err = resume.ErrNotFound
			default:
				err = change(u)
			}
			u.unlock()
			u.endTurn()
		}
		u.release()
		if err == nil {
			return nil
		}
		if !errors.Is(err, resume.ErrSuperseded) || ctx.Err() != nil {
			return u.wrap(err)
		}
	}
}

// Settle implements [resume.Store].
func (s *Store) Settle(ctx context.Context, id resume.ID, result []byte) error {
	if len(result) > resume.MaxResultSize {
		return fmt.Errorf("upload %s: its result has %d bytes, at most %d are kept", id, len(result), resume.MaxResultSize)
	}
	return s.inTurn(ctx, id, func(u *upload) error {
		switch u.phase {
		case resume.Receiving:
			return resume.ErrNotComplete
		case resume.Delivered:
			return nil
		}
		result = append([]byte{}, result...)
		err := u.record(nil, func(r *record) {
			r.Phase, r.Origin, r.Result = resume.Delivered, nil, result
			r.Publish, r.Lease = nil, nil
		})
		if err != nil {
			return err
		}
		u.phase, u.origin, u.result = resume.Delivered, nil, result
		u.published, u.lease = nil, nil
		s.mu.Lock()
		delete(s.leased, id)
		s.mu.Unlock()
		u.log.Debug("upload delivered", zap.Int("result", len(result)))
		return nil
	})
}

// Delete implements [resume.Store].
func (s *Store) Delete(ctx context.Context, id resume.ID) error {
	return s.inTurn(ctx, id, func(u *upload) error { return u.delete(nil) })
}

// delete marks the record first: from then on there is no such upload. A mark
// that stays because this node dies is taken over after a while, or removed by
// the janitor.
func (u *upload) delete(should func() bool) error {
	if should != nil && !should() {
		return errKept
	}
	m, objects := u.parts.multipart, u.objects
	err := u.record(objects, func(r *record) {
		*r = record{ID: r.ID, Gone: true, Phase: resume.Receiving, Length: resume.UnknownLength, PartSize: r.PartSize, Updated: r.Updated,
			Objects: r.Objects, Parts: r.Parts}
	})
	if err != nil {
		return err
	}
	u.dead = resume.ErrNotFound
	u.endClaims(resume.Everything, resume.ErrNotFound)
	u.wake()
	for u.flying > 0 {
		_ = u.wait(u.store.work)
	}
	m = u.parts.multipart
	u.unlock()
	defer u.mu.Lock()
	if m.UploadID != "" {
		err = u.store.bucket.abort(u.store.work, &m)
	}
	for _, o := range objects {
		err = errors.Join(err, u.store.bucket.remove(u.store.work, o.Key))
	}
	if err != nil {
		u.log.Warn("bytes of a deleted upload cannot be removed now", zap.Error(err))
		return nil // the janitor finds the mark
	}
	return u.store.bucket.remove(u.store.work, u.store.recordKey(u.id))
}

var errKept = errors.New("it has changed")

// Content implements [resume.Store].
func (s *Store) Content(ctx context.Context, id resume.ID) (resume.Content, error) {
	if _, err := resume.ParseID(string(id)); err != nil {
		return nil, err
	}
	r, _, err := s.read(ctx, id)
	switch {
	case err == nil && (r.Gone || r.Phase == resume.Delivered):
		err = resume.ErrNotFound
	case err == nil && r.Phase != resume.Complete:
		err = resume.ErrNotComplete
	}
	if err != nil {
		return nil, fmt.Errorf("upload %s: %w", id, err)
	}
	c := &content{store: s, size: r.Length}
	if len(r.Objects) > 0 {
		c.key = r.Objects[0].Key
	}
	return c, nil
}

// content is an object. Who reads on where it stopped gets the bytes of one
// request as they come.
type content struct {
	store *Store
	key   string
	size  int64

	mu     sync.Mutex
	body   io.ReadCloser // at off
	cancel context.CancelFunc
	off    int64
}

// Size implements [resume.Content].
func (c *content) Size() int64 { return c.size }

// ReadAt implements [io.ReaderAt].
func (c *content) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errors.New("s3store: negative offset")
	}
	if off >= c.size {
		return 0, io.EOF
	}
	var end error
	if int64(len(p)) > c.size-off {
		p, end = p[:c.size-off], io.EOF
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	if c.body != nil && c.off == off {
		n, _ = c.read(p)
	}
	if n == len(p) {
		return n, end
	}
	c.close()
	err := c.store.bucket.try(c.store.work, "GET "+c.key, int64(len(p)), func(context.Context) error {
		// The body outlives this try: it is read on by the next ReadAt.
		live, cancel := context.WithCancel(c.store.work)
		c.cancel, c.off = cancel, off+int64(n)
		defer time.AfterFunc(patience(0), cancel).Stop()
		body, err := c.store.bucket.open(live, c.key, c.off, c.size-c.off)
		if err != nil {
			c.close()
			return err
		}
		c.body = body
		k, err := c.read(p[n:])
		n += k
		if err != nil {
			c.close()
			return io.ErrUnexpectedEOF
		}
		return nil
	})
	if err != nil {
		return n, err
	}
	return n, end
}

// read fills p from the body, which ends if that takes too long.
func (c *content) read(p []byte) (int, error) {
	defer time.AfterFunc(patience(int64(len(p))), c.cancel).Stop()
	n, err := io.ReadFull(c.body, p)
	c.off += int64(n)
	return n, err
}

func (c *content) close() {
	if c.cancel != nil {
		c.cancel()
	}
	if c.body != nil {
		c.body.Close()
	}
	c.body, c.cancel = nil, nil
}

// Close implements [io.Closer].
func (c *content) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.close()
	return nil
}
