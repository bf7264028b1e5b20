package s3store

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/wsingest/wsingest/resume"
)

// source is where a run of bytes is to be had from: memory or an object.
type source struct {
	resume.Range
	block *block
	key   string
	off   int64
}

// sources returns where the bytes of r are, in order; false when some are not
// there or cannot be had now.
func (u *upload) sources(r resume.Range) ([]source, bool) {
	var found []source
	for _, b := range u.blocks {
		if b.landed || !b.extent().Overlaps(r) {
			continue
		}
		if b.going {
			return nil, false
		}
		found = append(found, source{Range: b.extent().Range, block: b})
	}
	for _, o := range u.objects {
		for _, p := range o.Pieces {
			in := resume.Range{Start: max(p.Start, r.Start), End: min(p.End, r.End)}
			if !in.Empty() {
				found = append(found, source{Range: in, key: o.Key, off: p.Off + in.Start - p.Start})
			}
		}
	}
	slices.SortFunc(found, func(a, b source) int { return cmp.Compare(a.Start, b.Start) })
	off := r.Start
	for _, s := range found {
		if s.Start != off {
			return nil, false
		}
		off = s.End
	}
	return found, off == r.End
}

// single reports whether the upload is so short that it needs no parts.
func (u *upload) single() bool {
	return u.info.Length >= 0 && u.info.Length <= u.plan.at(0).End
}

// inOne reports whether one object is all of an upload already.
func (u *upload) inOne(length int64) bool {
	return len(u.blocks) == 0 && len(u.objects) == 1 && u.objects[0].Size == length &&
		slices.Equal(u.objects[0].Pieces, []piece{{Start: 0, End: length}})
}

// copiesInFlight is how many parts of bytes that are safe already are made at
// a time.
const copiesInFlight = 4

// launch sends part i on its way if all of it is here.
func (u *upload) launch(i int) {
	if !u.single() {
		u.launchAs(i)
	}
}

// launchAs is launch also of the only part there is.
func (u *upload) launchAs(i int) {
	p := u.parts
	if u.grounded || u.dead != nil || p.have[i] || p.landed[i] || p.flying[i] {
		return
	}
	from, ok := u.sources(u.plan.cut(i, u.info.Length))
	if !ok {
		return
	}
	fresh := slices.ContainsFunc(from, func(s source) bool { return s.block != nil })
	switch {
	case fresh:
	case u.flying >= copiesInFlight:
		return // when one of them has landed
	case u.inOne(u.info.Length):
		return
	}
	for _, s := range from {
		if s.block != nil {
			s.block.going = true
		}
	}
	p.flying[i] = true
	u.flying++
	u.retain()
	u.tend()
	go u.fly(p, i, from)
}

// launchAll looks at every part of which bytes are at hand.
func (u *upload) launchAll() {
	seen := map[int]bool{}
	try := func(i int) {
		if !seen[i] {
			seen[i] = true
			u.launch(i)
		}
	}
	for _, b := range u.blocks {
		try(b.part)
	}
	for _, o := range u.objects {
		for _, p := range o.Pieces {
			first, _ := u.plan.part(p.Start)
			last, _ := u.plan.part(p.End - 1)
			for i := first; i <= last && u.flying < copiesInFlight; i++ {
				try(i)
			}
		}
	}
}

// fly puts a part into the storage.
func (u *upload) fly(p *parts, i int, from []source) {
	defer u.release()
	u.store.putting <- struct{}{}
	err := u.putPart(u.store.work, p, i, from)
	<-u.store.putting
	if errors.Is(err, errNoUpload) {
		err = u.whoWrote(err)
	}
	u.mu.Lock()
	defer u.unlock()
	u.flying--
	delete(p.flying, i)
	if err != nil {
		u.fail(err)
		return
	}
	p.landed[i] = true
	for _, s := range from {
		if b := s.block; b != nil {
			b.landed = true
			b.claim.arrived += int64(len(b.buf))
		}
	}
	u.wake()
}

func (u *upload) putPart(ctx context.Context, p *parts, i int, from []source) error {
	m, err := u.begun(ctx, p)
	if err != nil {
		return err
	}
	first, size := from[0], from[len(from)-1].End-from[0].Start
	if len(from) == 1 && first.key != "" {
		if err := u.store.bucket.copyPart(ctx, m, i, first.key, first.off, size); !errors.Is(err, errCopySum) {
			return err
		}
		// Then the bytes have to come by here.
	}
	body, err := u.store.bring(ctx, from)
	if err != nil {
		return err
	}
	defer body.close()
	return u.store.bucket.putPart(ctx, m, i, size, body.crc, body.reader)
}

// begun returns the multipart upload, which begins when it is needed first.
func (u *upload) begun(ctx context.Context, p *parts) (*multipart, error) {
	p.begin.Lock()
	defer p.begin.Unlock()
	m := p.multipart
	if m.UploadID != "" {
		return &m, nil
	}
	m.Key = u.store.dataKey(u.id)
	id, err := u.store.bucket.begin(ctx, m.Key)
	if err != nil {
		return nil, err
	}
	m.UploadID = id
	u.mu.Lock()
	p.multipart = m
	u.unlock()
	return &m, nil
}
