package s3store

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"go.uber.org/zap"

	"github.com/wsingest/wsingest/resume"
	"github.com/wsingest/wsingest/resume/internal/rules"
)

// Open implements [resume.Store].
func (s *Store) Open(ctx context.Context, o resume.OpenOptions) (resume.Claim, error) {
	if o.Range == (resume.Range{}) {
		o.Range = resume.Everything
	}
	if err := checkOpen(o); err != nil {
		return nil, err
	}
	for {
		u, err := s.acquire(ctx, o.Info.ID)
		if err != nil {
			return nil, err
		}
		c, err := u.open(ctx, o)
		u.release()
		if err == nil {
			return c, nil
		}
		// Another node was faster: it is this one's turn to be the newest.
		if !errors.Is(err, resume.ErrSuperseded) || ctx.Err() != nil {
			return nil, u.wrap(err)
		}
	}
}

// checkOpen looks at what can be wrong whatever is stored.
func checkOpen(o resume.OpenOptions) error {
	if _, err := resume.ParseID(string(o.Info.ID)); err != nil {
		return err
	}
	wrap := func(format string, args ...any) error {
		return fmt.Errorf("upload %s: %w", o.Info.ID, fmt.Errorf(format, args...))
	}
	for what, value := range map[string]string{"name": o.Info.Name, "media type": o.Info.Type, "owner": o.Info.Owner} {
		if len(value) > resume.MaxNameLength {
			return wrap("its %s has %d bytes, at most %d are kept", what, len(value), resume.MaxNameLength)
		}
	}
	size := 0
	for k, v := range o.Info.Metadata {
		size += len(k) + len(v)
	}
	switch {
	case size > resume.MaxMetadataSize:
		return wrap("its metadata has %d bytes, at most %d are kept", size, resume.MaxMetadataSize)
	case o.Info.Length < resume.UnknownLength:
		return wrap("%w: %d", resume.ErrLength, o.Info.Length)
	case o.Info.Length > largest:
		return wrap("%w: %d bytes, S3 takes %d", resume.ErrNoSpace, o.Info.Length, int64(largest))
	case o.Range.Start < 0 || o.Range.Empty():
		return wrap("%w: range %v", resume.ErrLength, o.Range)
	}
	return nil
}

// largest is an object of S3: ten thousand parts of 5 GiB, 48.8 TiB.
const largest = maxParts * maxPart

// open makes a claim. Everything is checked before any other claim is touched:
// a stranger must not be able to cut a client off. The record with the new
// epoch is what ends those on other nodes.
func (u *upload) open(ctx context.Context, o resume.OpenOptions) (*claim, error) {
	if err := u.takeTurn(ctx); err != nil {
		return nil, err
	}
	defer u.endTurn()
	u.mu.Lock()
	defer u.unlock()
	if u.dead != nil {
		return nil, u.dead
	}
	if !u.exists {
		return u.openNew(o)
	}
	if err := rules.Admit(u.info, u.received, o); err != nil {
		return nil, err
	}
	if u.phase != resume.Receiving {
		u.epoch++
		return u.openable(o)
	}
	u.epoch++
	if err := u.record(u.objects, func(r *record) {
		r.WantSHA256 = r.WantSHA256 || o.Info.WantSHA256
		if o.Info.Length >= 0 {
			r.Length = o.Info.Length
		}
	}); err != nil {
		return nil, err
	}
	if u.adopt {
		u.unlock()
		err := u.freeze()
		u.mu.Lock()
		u.unground()
		if err != nil {
			return nil, err
		}
	}
	return u.openable(o)
}

// openable ends the claims in the way and makes the new one.
func (u *upload) openable(o resume.OpenOptions) (*claim, error) {
	if u.store.isClosed() {
		return nil, resume.ErrClosed
	}
	u.endClaims(o.Range, resume.ErrSuperseded)
	if l := o.Info.Length; l >= 0 && u.info.Length < 0 {
		// What came in meanwhile counts too.
		if err := rules.Ends(u.received(), l); err != nil {
			return nil, err
		}
		u.info.Length = l
	}
	if o.Info.WantSHA256 && u.phase == resume.Receiving {
		u.info.WantSHA256 = true
	}
	return u.claim(o), nil
}

func (s *Store) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// openNew creates the upload, unless another node does so first.
func (u *upload) openNew(o resume.OpenOptions) (*claim, error) {
	if o.MustExist {
		return nil, resume.ErrNotFound
	}
	if err := rules.InRange(o.Range, o.Info.Length); err != nil {
		return nil, err
	}
	u.info = o.Info
	u.info.Metadata = maps.Clone(o.Info.Metadata)
	u.plan = newPlan(o.Info.Length, u.store.opts.PartSize)
	u.created = now()
	u.phase = resume.Receiving
	u.parts = newParts(multipart{})
	u.epoch = 1
	if err := u.record(nil, nil); err != nil {
		return nil, err
	}
	u.exists = true
	u.log.Debug("upload created", zap.String("name", u.info.Name), zap.Int64("length", u.info.Length))
	return u.openable(o)
}
