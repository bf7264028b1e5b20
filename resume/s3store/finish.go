package s3store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/wsingest/wsingest/resume"
	"github.com/wsingest/wsingest/resume/internal/rules"
)

// Finish implements [resume.Claim].
func (c *claim) Finish(ctx context.Context, o resume.FinishOptions) (resume.State, error) {
	u := c.u
	defer c.stay()() // the claim's own reference goes when it is superseded
	u.mu.Lock()
	defer u.unlock()
	if len(o.Origin) > resume.MaxOriginSize {
		return u.state(), u.wrap(fmt.Errorf("its origin has %d bytes, at most %d are kept", len(o.Origin), resume.MaxOriginSize))
	}
	err := u.finish(ctx, c, o)
	if err != nil && err != c.err {
		err = u.wrap(err)
	}
	return u.state(), err
}

// finish waits until all is received, and has the turn for what follows.
func (u *upload) finish(ctx context.Context, c *claim, o resume.FinishOptions) error {
	for {
		_, ready, err := u.finishable(c, o)
		if err != nil {
			return err
		}
		if !ready && u.phase == resume.Receiving {
			if err := u.wait(ctx); err != nil {
				return err
			}
			continue
		}
		u.unlock()
		err = u.takeTurn(ctx)
		u.mu.Lock()
		if err != nil {
			return err
		}
		done, err := u.finishInTurn(c, o)
		u.endTurn()
		if done || err != nil {
			return err
		}
	}
}

// finishable says how long the upload is and whether every byte of it is here.
func (u *upload) finishable(c *claim, o resume.FinishOptions) (length int64, ready bool, err error) {
	if u.phase != resume.Receiving {
		return 0, true, nil
	}
	if c.err != nil {
		return 0, false, c.err
	}
	return u.whole(c, o.Length)
}

func (u *upload) finishInTurn(c *claim, o resume.FinishOptions) (done bool, err error) {
	length, ready, err := u.finishable(c, o)
	switch {
	case err != nil || !ready:
		return false, err
	case u.phase != resume.Receiving:
		return true, u.finishAgain(o)
	}
	var crc uint32
	if length > 0 {
		crc = u.received()[0].CRC32C
	}
	if err := rules.SameCRC32C(crc, o.CRC32C); err != nil {
		return false, err
	}
	want := u.info.WantSHA256 || o.SHA256 != nil
	if want && u.hash.off == length {
		if err := rules.SameSHA256(u.hash.sum(), o.SHA256); err != nil {
			return false, err
		}
	}
	was := u.info.Length
	u.info.Length = length
	objects, err := u.seal(length)
	if err != nil {
		return false, err
	}
	u.grounded = true // it is whole: nothing is to be made parts of again
	sum, err := u.digest(objects, length, want, o.SHA256)
	if err != nil {
		u.grounded = false
		u.info.Length = was
		if recordErr := u.record(objects, nil); recordErr != nil {
			return false, recordErr
		}
		return false, err
	}
	mine := u.store.newLease() // who finishes it is about to deliver it
	err = u.record(objects, func(r *record) {
		r.Lease = mine
		r.Phase, r.SHA256, r.Hash = resume.Complete, sum, nil
		r.WantSHA256, r.Origin = want, o.Origin
	})
	if err != nil {
		return false, err
	}
	u.phase, u.sha256, u.info.WantSHA256 = resume.Complete, sum, want
	u.origin, u.lease = bytes.Clone(o.Origin), mine
	for _, other := range slices.Clone(u.claims) {
		if other != c {
			other.end(resume.ErrComplete)
			u.due = append(u.due, other)
		}
	}
	u.wake()
	return true, nil
}

// whole says how long the upload is and whether every byte of it is received;
// if not, it is worth waiting for other claims, or there is an error.
func (u *upload) whole(c *claim, length int64) (_ int64, ready bool, err error) {
	var coming []resume.Range
	for _, o := range u.claims {
		if o != c {
			coming = append(coming, resume.Range{Start: o.cursor, End: o.rng.End})
		}
	}
	length, missing, err := rules.Whole(u.received(), u.info.Length, length, coming)
	return length, err == nil && len(missing) == 0, err
}

// seal brings all bytes into one object and returns it; an empty upload has
// none. It has the turn, and mu, which it gives up meanwhile.
func (u *upload) seal(length int64) ([]object, error) {
	all := resume.Range{Start: 0, End: length}
	if u.inOne(length) {
		return u.objects, nil
	}
	switch {
	case length == 0:
		return nil, nil
	case u.single() && len(u.parts.have)+len(u.parts.landed)+u.flying == 0:
		return u.sealSmall(all)
	}
	return u.sealParts(all)
}

// sealSmall makes an object in one request.
func (u *upload) sealSmall(all resume.Range) ([]object, error) {
	from, ok := u.sources(all)
	if !ok {
		return nil, u.failed(errors.New("bytes that were received are not to be found"))
	}
	for _, b := range u.blocks {
		b.going = true
	}
	u.unlock()
	o := whole(u.store.dataKey(u.id), all)
	body, err := u.store.bring(u.store.work, from)
	if err == nil {
		err = u.store.bucket.put(u.store.work, o.Key, o.Size, body.crc, body.reader)
		body.close()
	}
	u.mu.Lock()
	if err != nil {
		return nil, u.failed(err)
	}
	for _, b := range u.blocks {
		b.landed = true
	}
	return []object{o}, nil
}

func (u *upload) failed(err error) error {
	u.fail(err)
	return u.dead
}

// sealParts waits for all parts, and makes the object of them.
func (u *upload) sealParts(all resume.Range) ([]object, error) {
	last, _ := u.plan.part(all.End - 1)
	for {
		u.launchParts(last)
		have := 0
		for i := range last + 1 {
			if u.parts.have[i] || u.parts.landed[i] {
				have++
			}
		}
		if u.dead != nil {
			return nil, u.dead
		}
		if have == last+1 {
			break
		}
		if u.flying == 0 {
			return nil, u.failed(errors.New("bytes that were received are not to be found"))
		}
		_ = u.wait(u.store.work)
	}
	// The record comes first: if this node dies after it has completed the
	// multipart upload, that is how another knows what is in the object.
	if err := u.record(u.objects, nil); err != nil {
		return nil, err
	}
	m := u.parts.multipart
	want := make([]wanted, 0, last+1)
	for i := range last + 1 {
		r := u.plan.cut(i, all.End)
		want = append(want, wanted{index: i, size: r.End - r.Start})
	}
	u.unlock()
	err := u.complete(&m, want)
	u.mu.Lock()
	if err != nil {
		return nil, u.failed(err)
	}
	u.parts = newParts(multipart{})
	return []object{whole(m.Key, all)}, nil
}

// launchParts sends on their way all parts that are not, also the only one of
// an upload whose length was not known before.
func (u *upload) launchParts(last int) {
	for i := range last + 1 {
		u.launchAs(i)
	}
}

// digest returns the SHA-256 if it is wanted, and compares it. Bytes that did
// not come in order are read once. It has mu, which it gives up meanwhile.
func (u *upload) digest(objects []object, length int64, want bool, expected []byte) ([]byte, error) {
	if !want {
		return nil, nil
	}
	if u.hash.off < length {
		off := u.hash.off
		h := u.hash.h
		if h == nil {
			h = sha256.New()
		}
		u.unlock()
		err := u.store.bucket.copyTo(u.store.work, h, objects[0].Key, off, length-off)
		u.mu.Lock()
		if err != nil {
			return nil, u.failed(err)
		}
		u.hash.h, u.hash.off = h, length
	}
	sum := u.hash.sum()
	return sum, rules.SameSHA256(sum, expected)
}

// finishAgain answers a Finish of what is complete. It has mu, which it may
// give up meanwhile.
func (u *upload) finishAgain(o resume.FinishOptions) error {
	if err := rules.Again(u.state(), o); err != nil {
		return err
	}
	if o.SHA256 == nil || u.sha256 == nil && u.phase == resume.Delivered {
		return nil // delivered, and nobody asked for it while the bytes were here
	}
	sum := u.sha256
	if sum == nil {
		h := sha256.New()
		if len(u.objects) > 0 {
			key, length := u.objects[0].Key, u.info.Length
			u.unlock()
			err := u.store.bucket.copyTo(u.store.work, h, key, 0, length)
			u.mu.Lock()
			if err != nil {
				return err
			}
		}
		sum = h.Sum(nil)
	}
	return rules.SameSHA256(sum, o.SHA256)
}
