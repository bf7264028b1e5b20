package filestore

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"

	"github.com/wsingest/wsingest/resume"
	"github.com/wsingest/wsingest/resume/internal/rules"
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
	var coming []resume.Range
	for _, o := range u.claims {
		if o != c && o.err == nil {
			coming = append(coming, resume.Range{Start: o.cursor, End: o.rng.End})
		}
	}
	length, missing, err := rules.Whole(u.received(), u.info.Length, length, coming)
	// A byte under way may lie behind the end.
	return length, err == nil && len(missing) == 0 && !u.writing(resume.Everything), err
}

// verify compares the digests of a whole upload. It is not ready while the
// SHA-256 is behind.
func (u *upload) verify(length int64, o resume.FinishOptions) (sum []byte, ready bool, err error) {
	var crc uint32
	if length > 0 && o.CRC32C != nil {
		crc = u.received()[0].CRC32C
	}
	if err := rules.SameCRC32C(crc, o.CRC32C); err != nil {
		return nil, false, err
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
	return sum, true, rules.SameSHA256(sum, o.SHA256)
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
	if err := rules.Again(u.state(), o); err != nil {
		return err
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
	return rules.SameSHA256(sum, o.SHA256)
}

// hashContent takes the SHA-256 of a complete upload for which it was not
// wanted before.
func (u *upload) hashContent() ([]byte, error) {
	length := u.info.Length
	f, _, err := u.openContent()
	if err != nil {
		return nil, err
	}
	u.unlock()
	defer u.mu.Lock()
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, io.NewSectionReader(f, 0, length))
	return h.Sum(nil), err
}
