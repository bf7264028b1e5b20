package s3store

import (
	"cmp"
	"slices"

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
	var from []source
	for _, o := range small {
		for _, p := range o.Pieces {
			from = append(from, source{Range: resume.Range{Start: p.Start, End: p.End}, key: o.Key, off: p.Off})
		}
	}
	slices.SortFunc(from, func(a, b source) int { return cmp.Compare(a.Start, b.Start) })
	one := object{Key: u.store.dataKey(u.id)}
	for _, s := range from {
		if n := len(one.Pieces); n > 0 && one.Pieces[n-1].End == s.Start {
			one.Pieces[n-1].End = s.End
		} else {
			one.Pieces = append(one.Pieces, piece{Start: s.Start, End: s.End, Off: one.Size})
		}
		one.Size += s.End - s.Start
	}
	body, err := u.store.bring(u.store.work, from)
	if err != nil {
		return object{}, err
	}
	defer body.close()
	return one, u.store.bucket.put(u.store.work, one.Key, one.Size, body.crc, body.reader)
}
