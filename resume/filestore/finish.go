package filestore

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"

	"github.com/wsingest/wsingest/resume"
)

// Finish implements [resume.Claim]. It verifies before it syncs, so that the
// bytes, their record and the phase Complete are one trip to the disk.
func (c *claim) Finish(ctx context.Context, o resume.FinishOptions) (resume.State, error) {
	u := c.u
	if len(o.Origin) > resume.MaxOriginSize {
		return c.State(), u.wrap(fmt.Errorf("its origin has %d bytes, at most %d are kept", len(o.Origin), resume.MaxOriginSize))
	}
	if u.stay() { // the claim's own reference goes when it is superseded
		defer u.release()
	}
	u.mu.Lock()
	defer u.unlock()
	if err := u.finish(ctx, c, o); err != nil {
		if err != c.err {
			err = u.wrap(err)
		}
		return u.state(), err
	}
	return u.state(), nil
}

func (u *upload) finish(ctx context.Context, c *claim, o resume.FinishOptions) error {
	for {
		if u.next.phase != resume.Receiving {
			return u.finishAgain(ctx, o)
		}
		if c.err != nil {
			return c.err
		}
		length, ready, err := u.whole(c, o.Length)
		if err != nil {
			return err
		}
		var sum []byte
		if ready {
			sum, ready, err = u.verify(length, o)
			if err != nil {
				return err
			}
		}
		if ready {
			u.info.Length = length
			u.next.phase = resume.Complete
			u.next.sha256 = sum
			u.next.origin = bytes.Clone(o.Origin)
			u.finisher = c
			u.commit.data = true
			return u.recordNow(ctx)
		}
		if err := u.wait(ctx); err != nil {
			return err
		}
	}
}

// recordNow makes what was changed durable.
func (u *upload) recordNow(ctx context.Context) error {
	if u.dead != nil {
		return u.dead
	}
	u.dirty(true)
	return u.waitCommit(ctx, u.commit.taken+1)
}

// whole says how long the upload is and whether every byte of it is received;
// if not, it is worth waiting for other claims, or there is an error.
func (u *upload) whole(c *claim, length int64) (_ int64, ready bool, err error) {
	if u.commit.done < u.commit.hold {
		return 0, false, nil // a Rewind is not on the disk yet
	}
	received, known := u.received(), u.info.Length
	switch {
	case length < resume.UnknownLength || known >= 0 && length >= 0 && length != known:
		return 0, false, fmt.Errorf("%w: %d, known is %d", resume.ErrLength, length, known)
	case length >= 0 && received.End() > length:
		return 0, false, fmt.Errorf("%w: %d, but %d bytes were received", resume.ErrLength, length, received.End())
	case length < 0 && known >= 0:
		length = known
	case length < 0:
		length = received.End()
	}
	missing := received.Missing(resume.Range{Start: 0, End: length})
	for _, r := range missing {
		if !u.coveredByOthers(c, r) {
			return 0, false, &resume.IncompleteError{Missing: missing}
		}
	}
	// A byte under way may lie behind the end.
	return length, len(missing) == 0 && !u.writing(resume.Everything), nil
}

// coveredByOthers reports whether live claims other than c may still bring all
// of r.
func (u *upload) coveredByOthers(c *claim, r resume.Range) bool {
	for off := r.Start; off < r.End; {
		end := off
		for _, o := range u.claims {
			if o != c && o.err == nil && o.rng.Start <= off && o.cursor <= off {
				end = max(end, o.rng.End)
			}
		}
		if end == off {
			return false
		}
		off = end
	}
	return true
}

// verify compares the digests of a whole upload. It is not ready while the
// SHA-256 is behind.
func (u *upload) verify(length int64, o resume.FinishOptions) (sum []byte, ready bool, err error) {
	if o.CRC32C != nil {
		var crc uint32
		if length > 0 {
			crc = u.received()[0].CRC32C
		}
		if crc != *o.CRC32C {
			return nil, false, fmt.Errorf("%w: CRC-32C is %08x, expected %08x", resume.ErrDigestMismatch, crc, *o.CRC32C)
		}
	}
	if o.SHA256 != nil {
		u.info.WantSHA256 = true
	}
	if !u.info.WantSHA256 {
		return nil, true, nil
	}
	if u.hash.off < length {
		u.hash.all = true
		u.follow()
		return nil, false, nil
	}
	u.hash.all = false
	sum = u.hash.resumed().Sum(nil)
	return sum, true, compareSHA256(sum, o.SHA256)
}

func compareSHA256(sum, expected []byte) error {
	if expected != nil && !bytes.Equal(sum, expected) {
		return fmt.Errorf("%w: SHA-256 is %x, expected %x", resume.ErrDigestMismatch, sum, expected)
	}
	return nil
}

// finishAgain answers a Finish of what is complete, or about to be.
func (u *upload) finishAgain(ctx context.Context, o resume.FinishOptions) error {
	if err := u.waitCommit(ctx, u.commit.taken); err != nil {
		return err
	}
	for u.now.phase == resume.Receiving { // its commit has not begun yet
		if u.dead != nil {
			return u.dead
		}
		if err := u.wait(ctx); err != nil {
			return err
		}
	}
	if o.Length >= 0 && o.Length != u.info.Length {
		return fmt.Errorf("%w: %d, known is %d", resume.ErrLength, o.Length, u.info.Length)
	}
	if crc, ok := u.state().CRC32C(); o.CRC32C != nil && ok && crc != *o.CRC32C {
		return fmt.Errorf("%w: CRC-32C is %08x, expected %08x", resume.ErrDigestMismatch, crc, *o.CRC32C)
	}
	if o.SHA256 == nil {
		return nil
	}
	sum := u.now.sha256
	if sum == nil && u.now.phase == resume.Complete {
		var err error
		if sum, err = u.hashContent(); err != nil {
			return err
		}
	}
	if sum == nil {
		return nil // delivered, and nobody asked for it while the bytes were here
	}
	return compareSHA256(sum, o.SHA256)
}

// hashContent takes the SHA-256 of a complete upload for which it was not
// wanted before.
func (u *upload) hashContent() ([]byte, error) {
	moved := u.now.moved
	length := u.info.Length
	u.unlock()
	defer u.mu.Lock()
	f, _, err := u.store.openContent(u.id, moved, length)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, io.NewSectionReader(f, 0, length))
	return h.Sum(nil), err
}
