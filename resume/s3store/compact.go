package s3store

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"slices"
	"sync"

	"github.com/wsingest/wsingest/resume"
)

// A slow client, or one with many gaps, leaves an object at every pause. When
// there are many, the small ones become one, so that the record stays small and
// a part is not made of hundreds of reads.
const (
	manyObjects = 64
	smallObject = 256 << 10
)

// compact returns objects with the small ones brought together, if it is worth
// it. It has the turn, and mu, which it gives up meanwhile; no part sets out
// then, since it might be made of an object that goes.
func (u *upload) compact(objects []object) ([]object, error) {
	if len(objects) <= manyObjects || u.flying > 0 {
		return objects, nil
	}
	var small, rest []object
	for _, o := range objects {
		if o.Size <= smallObject {
			small = append(small, o)
		} else {
			rest = append(rest, o)
		}
	}
	if len(small) <= manyObjects/2 {
		return objects, nil
	}
	was := u.grounded
	u.grounded = true
	u.unlock()
	one, err := u.join(small)
	u.mu.Lock()
	u.grounded = was
	if err != nil {
		return nil, err
	}
	return append(rest, one), nil
}

// join writes one object with the pieces of several.
func (u *upload) join(small []object) (object, error) {
	type read struct {
		piece
		key  string
		body []byte
	}
	var all []*read
	for _, o := range small {
		for _, p := range o.Pieces {
			all = append(all, &read{piece: p, key: o.Key, body: make([]byte, p.End-p.Start)})
		}
	}
	slices.SortFunc(all, func(a, b *read) int { return cmp.Compare(a.Start, b.Start) })
	errs := make([]error, len(small))
	var reads sync.WaitGroup
	for i, o := range small {
		u.store.putting <- struct{}{}
		reads.Go(func() {
			defer func() { <-u.store.putting }()
			whole := make([]byte, o.Size)
			if errs[i] = u.store.bucket.readAt(u.store.work, o.Key, whole, 0); errs[i] != nil {
				return
			}
			for _, r := range all {
				if r.key == o.Key {
					copy(r.body, whole[r.Off:])
				}
			}
		})
	}
	reads.Wait()
	if err := errors.Join(errs...); err != nil {
		return object{}, err
	}
	one := object{Key: u.store.dataKey(u.id)}
	var content bytes.Buffer
	for _, r := range all {
		if n := len(one.Pieces); n > 0 && one.Pieces[n-1].End == r.Start {
			one.Pieces[n-1].End = r.End
		} else {
			one.Pieces = append(one.Pieces, piece{Start: r.Start, End: r.End, Off: one.Size})
		}
		one.Size += r.End - r.Start
		content.Write(r.body)
	}
	crc := resume.UpdateCRC32C(0, content.Bytes())
	return one, u.store.bucket.put(u.store.work, one.Key, one.Size, crc, func() io.Reader { return bytes.NewReader(content.Bytes()) })
}
