package filestore

import (
	"context"
	"fmt"
	"maps"
	"os"

	"go.uber.org/zap"

	"github.com/wsingest/wsingest/resume"
	"github.com/wsingest/wsingest/resume/filestore/internal/vfs"
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
	u, err := s.acquire(ctx, o.Info.ID)
	if err != nil {
		return nil, err
	}
	defer u.release()
	c, err := u.open(ctx, o)
	if err != nil {
		return nil, u.wrap(err)
	}
	return c, nil
}

// checkOpen looks at what can be wrong whatever is stored.
func checkOpen(o resume.OpenOptions) error {
	if _, err := resume.ParseID(string(o.Info.ID)); err != nil {
		return err
	}
	err := func() error {
		for _, f := range []struct{ what, value string }{
			{"name", o.Info.Name}, {"media type", o.Info.Type}, {"owner", o.Info.Owner},
		} {
			if len(f.value) > resume.MaxNameLength {
				return fmt.Errorf("its %s has %d bytes, at most %d are kept", f.what, len(f.value), resume.MaxNameLength)
			}
		}
		size := 0
		for k, v := range o.Info.Metadata {
			size += len(k) + len(v)
		}
		if size > resume.MaxMetadataSize {
			return fmt.Errorf("its metadata has %d bytes, at most %d are kept", size, resume.MaxMetadataSize)
		}
		if o.Info.Length < resume.UnknownLength {
			return fmt.Errorf("%w: %d", resume.ErrLength, o.Info.Length)
		}
		if o.Range.Start < 0 || o.Range.Empty() {
			return fmt.Errorf("%w: range %v", resume.ErrLength, o.Range)
		}
		return nil
	}()
	if err != nil {
		return fmt.Errorf("upload %s: %w", o.Info.ID, err)
	}
	return nil
}

// open makes a claim. Everything is checked before any other claim is touched:
// a stranger must not be able to cut a client off.
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
	if u.small && (u.leaving || u.part == nil && u.now.phase == resume.Receiving && u.store.crowded(u.info.Length)) {
		if err := u.toFiles(ctx); err != nil {
			return nil, err
		}
	}
	if err := u.prepareFile(o.Info.Length); err != nil {
		return nil, err
	}
	u.endClaims(o.Range, resume.ErrSuperseded)
	for u.writing(o.Range) {
		if err := u.wait(ctx); err != nil {
			return nil, err
		}
	}
	if u.dead != nil {
		return nil, u.dead
	}
	if l := o.Info.Length; l >= 0 && u.info.Length < 0 {
		// What came in while the claims were ended counts too.
		if err := rules.Ends(u.received(), l); err != nil {
			return nil, err
		}
		u.info.Length = l
	}
	if o.Info.WantSHA256 && u.next.phase == resume.Receiving {
		u.info.WantSHA256 = true
		u.follow()
	}
	return u.claim(o)
}

// openNew creates the upload. It has no record until the first commit: if the
// process dies before, only a part file is left, which the janitor finds.
func (u *upload) openNew(o resume.OpenOptions) (*claim, error) {
	if o.MustExist {
		return nil, resume.ErrNotFound
	}
	if err := rules.InRange(o.Range, o.Info.Length); err != nil {
		return nil, err
	}
	u.unlock()
	part, promise, err := u.createPart(o.Info.Length)
	u.mu.Lock()
	if err != nil {
		return nil, err
	}
	u.part, u.promise = part, promise
	_, u.small = part.(*buffer)
	u.exists = true
	u.info = o.Info
	u.info.Metadata = maps.Clone(o.Info.Metadata)
	u.created = now()
	u.updated = u.created
	u.now = outcome{phase: resume.Receiving}
	u.next = u.now
	u.commit.data = true
	c, err := u.claim(o)
	if err != nil {
		return nil, err
	}
	u.log.Debug("upload created", zap.String("name", u.info.Name), zap.Int64("length", u.info.Length))
	return c, nil
}

func (u *upload) createPart(length int64) (part part, promise int64, err error) {
	if u.store.isSmall(length) {
		part = u.store.newBuffer(length)
		if promise, err = u.store.space.reserve(part, length, 0); err != nil {
			part.Close()
		}
		return part, promise, err
	}
	path := u.store.partPath(u.id)
	part, err = u.store.fs.Open(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return nil, 0, storageError(err)
	}
	if promise, err = u.store.space.reserve(part, length, 0); err != nil {
		part.Close()
		_ = u.store.fs.Remove(path) // else the janitor does
		return nil, 0, err
	}
	return part, promise, nil
}

// prepareFile opens the part file of an upload that is still receiving, and
// sets space aside if its length becomes known now.
func (u *upload) prepareFile(length int64) error {
	if u.now.phase != resume.Receiving {
		return nil
	}
	part, known, has, small := u.part, u.info.Length, u.received(), u.small
	u.unlock()
	defer u.mu.Lock()
	if part == nil {
		opened, err := u.store.openBytes(u.id, known, has, small)
		if err != nil {
			return err
		}
		part = opened
		u.mu.Lock()
		u.part = part
		u.unlock()
	}
	if known >= 0 || length < 0 {
		return nil
	}
	promise, err := u.store.space.reserve(part, length, has.Size())
	if err != nil {
		return err
	}
	u.mu.Lock()
	u.promise = promise
	u.commit.data = true
	u.unlock()
	return nil
}

func (s *Store) openBytes(id resume.ID, length int64, has resume.Extents, small bool) (part, error) {
	if small {
		return s.openBuffer(id, length, has)
	}
	return s.openPart(id, has.End())
}

// openPart opens the bytes of an upload, of which need must be there.
func (s *Store) openPart(id resume.ID, need int64) (vfs.File, error) {
	part, err := s.fs.Open(s.partPath(id), os.O_RDWR)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	info, err := part.Stat()
	if err == nil && info.Size() < need {
		err = fmt.Errorf("%w: part file has %d bytes, %d were durable", ErrDamaged, info.Size(), need)
	}
	if err != nil {
		part.Close()
		return nil, err
	}
	return part, nil
}

// storageError makes a full disk an error of the contract.
func storageError(err error) error {
	if err != nil && vfs.IsFull(err) {
		return fmt.Errorf("%w: %w", resume.ErrNoSpace, err)
	}
	return err
}
