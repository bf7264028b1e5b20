package s3store

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/wsingest/wsingest/resume"
	"github.com/wsingest/wsingest/resume/internal/rules"
)

// commit makes the parts that have landed durable, and with tail all the rest
// that is received now. It has the turn. An error has ended this copy of the
// upload.
func (u *upload) commit(tail bool) error {
	u.mu.Lock()
	defer u.unlock()
	if u.dead != nil {
		return u.wrap(u.dead)
	}
	objects := slices.Clone(u.objects)
	if tail {
		u.flush = false
		runs := u.runs()
		pending := slices.DeleteFunc(slices.Clone(u.blocks), func(b *block) bool { return !b.going })
		u.unlock()
		made, err := u.putRuns(u.store.work, runs)
		u.mu.Lock()
		if err != nil {
			u.fail(err)
			return u.wrap(err)
		}
		for _, run := range runs {
			for _, b := range run {
				b.landed = true
			}
		}
		objects = append(objects, made...)
		for u.dead == nil && slices.ContainsFunc(pending, func(b *block) bool { return !b.landed }) {
			_ = u.wait(u.store.work)
		}
		if objects, err = u.compact(objects); err != nil {
			u.fail(err)
		}
		if u.dead != nil {
			return u.wrap(u.dead)
		}
	}
	return u.record(objects, nil)
}

// runs returns the blocks that are on no way yet, adjacent ones of a part
// together, and sets them on theirs.
func (u *upload) runs() (runs [][]*block) {
	var free []*block
	for _, b := range u.blocks {
		if !b.going && len(b.buf) > 0 {
			b.going = true
			free = append(free, b)
		}
	}
	slices.SortFunc(free, func(a, b *block) int { return cmp.Compare(a.start, b.start) })
	for _, b := range free {
		if n := len(runs); n > 0 {
			last := runs[n-1][len(runs[n-1])-1]
			if last.end() == b.start && last.part == b.part {
				runs[n-1] = append(runs[n-1], b)
				continue
			}
		}
		runs = append(runs, []*block{b})
	}
	return runs
}

// putRuns writes an object for each run.
func (u *upload) putRuns(ctx context.Context, runs [][]*block) ([]object, error) {
	made, errs := make([]object, len(runs)), make([]error, len(runs))
	var all sync.WaitGroup
	for i, run := range runs {
		u.store.putting <- struct{}{}
		all.Go(func() {
			defer func() { <-u.store.putting }()
			made[i], errs[i] = u.putRun(ctx, run)
		})
	}
	all.Wait()
	return made, errors.Join(errs...)
}

func (u *upload) putRun(ctx context.Context, run []*block) (object, error) {
	at := resume.Range{Start: run[0].start, End: run[len(run)-1].end()}
	from := make([]source, len(run))
	for i, b := range run {
		from[i] = source{Range: b.extent().Range, block: b}
	}
	o := whole(u.store.dataKey(u.id), at)
	body, err := u.store.bring(ctx, from)
	if err != nil {
		return o, err
	}
	defer body.close()
	return o, u.store.bucket.put(ctx, o.Key, o.Size, body.crc, body.reader)
}

// whole is an object that has a range of the upload and nothing else.
func whole(key string, r resume.Range) object {
	return object{Key: key, Size: r.End - r.Start, Pieces: []piece{{Start: r.Start, End: r.End}}}
}

// record writes down what has landed, with objects in the place of those known
// before. edit changes the record besides. It has the turn, and mu, which it
// gives up meanwhile.
func (u *upload) record(objects []object, edit func(*record)) error {
	landed := map[int]bool{}
	for i := range u.parts.landed {
		landed[i] = true
	}
	objects = u.cutParts(objects, landed)
	var blocks []*block
	var extents []resume.Extent
	for _, b := range u.blocks {
		if b.landed {
			blocks = append(blocks, b)
			extents = append(extents, b.extent())
		}
	}
	durable := rules.Union(u.durable(), extents)
	r := u.draft(durable, objects, landed)
	if edit != nil {
		edit(r)
	}
	u.parts.offered = u.parts.offered || r.Parts != nil
	u.unlock()
	is, err := u.store.write(u.store.work, r, u.was)
	if errors.Is(err, errCondition) {
		err = u.whoWrote(resume.ErrSuperseded)
	}
	u.mu.Lock()
	if err != nil {
		u.fail(err)
		return u.wrap(err)
	}
	if u.dead != nil {
		return u.wrap(u.dead)
	}
	u.was = is
	u.recorded(r, blocks, landed)
	return nil
}

// draft is the record of what is durable now.
func (u *upload) draft(durable resume.Extents, objects []object, landed map[int]bool) *record {
	u.updated = now()
	r := &record{
		Phase: u.phase, Epoch: u.epoch, Created: u.created.Unix(), Updated: u.updated.Unix(),
		PartSize: u.plan.size, Growing: u.plan.growing, Objects: objects, SHA256: u.sha256, Origin: u.origin, Result: u.result,
		Publish: u.published, Lease: u.lease,
	}
	r.setInfo(u.info)
	r.setExtents(durable)
	if u.parts.UploadID != "" {
		m := u.parts.multipart
		m.Have = pairs(u.parts.have, landed)
		r.Parts = &m
	}
	if u.info.WantSHA256 && u.phase == resume.Receiving {
		if r.Hash = u.hash.saved; u.hash.off <= durable.EndFrom(0) {
			r.Hash = u.hash.mark()
		}
	}
	return r
}

// pairs returns the runs in the union of two sets.
func pairs(sets ...map[int]bool) (out [][2]int) {
	var all []int
	for _, s := range sets {
		for i := range s {
			all = append(all, i)
		}
	}
	slices.Sort(all)
	for _, i := range slices.Compact(all) {
		if n := len(out); n > 0 && out[n-1][1] == i-1 {
			out[n-1][1] = i
			continue
		}
		out = append(out, [2]int{i, i})
	}
	return out
}

// recorded takes over what a record says that is in the bucket now.
func (u *upload) recorded(r *record, blocks []*block, landed map[int]bool) {
	if r.Parts != nil && r.Parts.UploadID == u.parts.UploadID {
		u.parts.recorded = true
	}
	for i := range landed {
		u.parts.have[i] = true
		delete(u.parts.landed, i)
	}
	for _, b := range blocks {
		e := []resume.Extent{b.extent()}
		if c := b.claim; c.err == nil && c.gen == b.gen {
			c.fresh = rules.Union(c.fresh, e)
		} else {
			u.stored = rules.Union(u.stored, e)
		}
	}
	gone := map[*block]bool{}
	for _, b := range blocks {
		gone[b] = true
	}
	u.dropBlocks(func(b *block) bool { return gone[b] })
	u.sweep(u.objects, r.Objects)
	u.objects = r.Objects
	u.hash.saved = r.Hash
	u.launchAll()
	u.due = append(u.due, u.claims...)
	u.wake()
}

// sweep removes objects that the record has no more.
func (u *upload) sweep(before, after []object) {
	kept := map[string]bool{}
	for _, o := range after {
		kept[o.Key] = true
	}
	for _, o := range before {
		if !kept[o.Key] {
			u.store.discard(o.Key)
		}
	}
}

// discard removes an object that nobody needs, in the background. What cannot
// be removed the janitor finds.
func (s *Store) discard(key string) {
	s.sweeping.Go(func() {
		s.removing <- struct{}{}
		defer func() { <-s.removing }()
		_ = s.bucket.remove(s.work, key)
	})
}

// cutParts takes out of objects what parts have now.
func (u *upload) cutParts(objects []object, landed map[int]bool) []object {
	for i := range landed {
		objects = cutObjects(objects, []resume.Range{u.plan.cut(i, u.info.Length)})
	}
	return objects
}

// cutObjects takes ranges out of objects; those with no piece left are gone.
func cutObjects(objects []object, ranges []resume.Range) (left []object) {
	for _, o := range objects {
		pieces := o.Pieces
		for _, r := range ranges {
			var cut []piece
			for _, p := range pieces {
				if end := min(p.End, r.Start); p.Start < end {
					cut = append(cut, piece{Start: p.Start, End: end, Off: p.Off})
				}
				if start := max(p.Start, r.End); start < p.End {
					cut = append(cut, piece{Start: start, End: p.End, Off: p.Off + start - p.Start})
				}
			}
			pieces = cut
		}
		if len(pieces) > 0 {
			o.Pieces = pieces
			left = append(left, o)
		}
	}
	return left
}

// whoWrote finds out why this node is not the one any more: the upload was
// taken up by another, or deleted.
func (u *upload) whoWrote(otherwise error) error {
	r, _, err := u.store.read(u.store.work, u.id)
	switch {
	case errors.Is(err, resume.ErrNotFound):
		return resume.ErrNotFound
	case err != nil:
		return err
	case r.Gone:
		return resume.ErrNotFound
	case r.Node != u.store.node:
		return resume.ErrSuperseded
	}
	return otherwise
}

// freeze makes an object of the parts that the record has. No part of another
// node, nor a late one of this, can come to them any more. It has the turn;
// nothing is on its way and nothing can set out.
func (u *upload) freeze() error {
	u.mu.Lock()
	defer u.unlock()
	if u.dead != nil {
		return u.wrap(u.dead)
	}
	m := u.parts.multipart
	if m.UploadID == "" {
		return nil
	}
	o, want := object{Key: m.Key}, []wanted{}
	for _, h := range pairs(u.parts.have) {
		for i := h[0]; i <= h[1]; i++ {
			r := u.plan.cut(i, u.info.Length)
			want = append(want, wanted{index: i, size: r.End - r.Start})
			if n := len(o.Pieces); n > 0 && o.Pieces[n-1].End == r.Start {
				o.Pieces[n-1].End = r.End
			} else {
				o.Pieces = append(o.Pieces, piece{Start: r.Start, End: r.End, Off: o.Size})
			}
			o.Size += r.End - r.Start
		}
	}
	u.unlock()
	var err error
	if len(want) > 0 {
		err = u.complete(&m, want)
	} else if err = u.store.bucket.abort(u.store.work, &m); err != nil {
		err = u.whoWrote(err)
	}
	u.mu.Lock()
	if err != nil {
		u.fail(err)
		return u.wrap(err)
	}
	u.parts = newParts(multipart{})
	u.adopt = false
	u.store.mu.Lock()
	delete(u.store.tainted, u.id)
	u.store.mu.Unlock()
	objects := slices.Clone(u.objects)
	if len(want) > 0 {
		objects = append(objects, o)
	}
	return u.record(objects, nil)
}

// ground keeps parts from setting out, and waits for those that have. It has
// mu, which it gives up meanwhile; launch by u.fly again.
func (u *upload) ground() error {
	u.grounded = true
	for u.flying > 0 && u.dead == nil {
		_ = u.wait(u.store.work)
	}
	if u.dead != nil {
		return u.wrap(u.dead)
	}
	return nil
}

func (u *upload) unground() {
	u.grounded = false
	u.launchAll()
}
