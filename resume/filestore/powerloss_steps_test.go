package filestore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wsingest/wsingest/resume"
)

func (d *driver) open(id resume.ID, f *fate) error {
	o := resume.OpenOptions{Info: resume.Info{ID: id, Length: int64(len(f.sent)), WantSHA256: d.rng.IntN(3) == 0}}
	if d.rng.IntN(3) == 0 {
		o.Info.Length = resume.UnknownLength
	}
	if d.rng.IntN(2) == 0 && len(f.sent) > 1 {
		o.Range.Start = d.rng.Int64N(int64(len(f.sent)) - 1)
		o.Range.End = o.Range.Start + 1 + d.rng.Int64N(int64(len(f.sent))-o.Range.Start)
	}
	c, err := d.store.Open(context.Background(), o)
	if errors.Is(err, resume.ErrLength) || ofDisk(err) { // it was finished shorter
		return nil
	}
	if err != nil {
		return err
	}
	d.claims[id] = append(d.claims[id], c)
	return nil
}

// write sends some bytes at the claim's cursor, to no further than it may.
func (d *driver) write(id resume.ID, c resume.Claim) error {
	if c.State().Phase != resume.Receiving {
		return nil
	}
	at, st := c.Cursor(), c.State()
	n := 1 + d.rng.Int64N(9000)
	end := min(at+n, d.end(id, c))
	if end <= at {
		return nil
	}
	p := make([]byte, end-at)
	for i := range p {
		p[i] = byte(d.rng.Uint32())
	}
	d.change(id, func(f *fate) {
		for i := at; i < end; i++ {
			if st.Received.EndFrom(i) == i { // the bytes first received stay
				f.sent[i] = p[i-at]
				f.maybe[i] = true
			}
		}
	})
	_, err := c.Write(p)
	return ignore(err)
}

// end returns where the claim must stop writing.
func (d *driver) end(id resume.ID, c resume.Claim) int64 {
	end := min(c.(*claim).rng.End, int64(len(d.world[id].sent)))
	if l := c.State().Length; l >= 0 {
		end = min(end, l)
	}
	return end
}

// rewind takes back what the claim sent since a checkpoint.
func (d *driver) rewind(id resume.ID, c resume.Claim) error {
	if c.State().Phase != resume.Receiving {
		return nil
	}
	if d.rng.IntN(2) == 0 {
		c.Checkpoint()
		if err := d.write(id, c); err != nil {
			return err
		}
		if d.rng.IntN(2) == 0 {
			if err := ignore(c.Sync(context.Background())); err != nil {
				return err
			}
			if err := d.listen(); err != nil {
				return err
			}
		}
	}
	dropped := resume.Range{Start: c.(*claim).checked.cursor, End: c.Cursor()}
	d.change(id, func(f *fate) { // from here on it may be lost
		for _, r := range ownRanges(c.(*claim), dropped) {
			set(f.acked, r, false)
		}
	})
	own := ownRanges(c.(*claim), dropped)
	if _, err := c.Rewind(context.Background()); err != nil {
		return ignore(err)
	}
	d.change(id, func(f *fate) {
		for _, r := range own {
			set(f.maybe, r, false)
		}
	})
	return nil
}

// ownRanges returns what of r the claim took in itself.
func ownRanges(c *claim, r resume.Range) (own []resume.Range) {
	c.u.mu.Lock()
	defer c.u.mu.Unlock()
	for _, e := range c.runs {
		o := resume.Range{Start: max(e.Start, r.Start), End: min(e.End, r.End)}
		if !o.Empty() {
			own = append(own, o)
		}
	}
	return own
}

func (d *driver) fillAndFinish(id resume.ID, c resume.Claim) error {
	if d.rng.IntN(3) > 0 { // give it a chance to be whole
		if err := c.Close(); err != nil {
			return err
		}
		for _, o := range d.claims[id] {
			if err := o.Close(); err != nil {
				return err
			}
		}
		var err error
		c, err = d.store.Open(context.Background(), resume.OpenOptions{Info: resume.Info{ID: id, Length: resume.UnknownLength}})
		if err != nil {
			return ignore(err)
		}
		d.claims[id] = []resume.Claim{c}
		for c.Cursor() < d.end(id, c) && c.State().Phase == resume.Receiving && c.Err() == nil {
			if err := d.write(id, c); err != nil {
				return err
			}
		}
	}
	st := c.State()
	if st.Phase == resume.Receiving {
		d.change(id, func(f *fate) {
			f.most = max(f.most, 1)
			f.length = st.Length
			if f.length < 0 {
				f.length = st.Received.End()
			}
		})
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if len(d.claims[id]) > 1 { // it might wait for lanes that nobody writes
		cancel()
	}
	st, err := c.Finish(ctx, resume.FinishOptions{Length: resume.UnknownLength})
	if err == nil {
		d.change(id, func(f *fate) { f.ack(st) })
	}
	return ignore(err, context.Canceled)
}

func (d *driver) publish(id resume.ID, f *fate) error {
	name, conflict := "f", resume.ConflictRename
	switch d.rng.IntN(3) {
	case 0:
		name, conflict = "o-"+string(id), resume.ConflictOverwrite
		if f.location == "" && d.rng.IntN(2) == 0 && f.least < 1 {
			if err := writeDurably(d.fs, publishDir+"/.wsingest-old-"+string(id), oldFile); err != nil {
				return err
			}
			if err := d.fs.Rename(publishDir+"/.wsingest-old-"+string(id), publishDir+"/"+name); err != nil {
				return err
			}
		}
	case 1:
		conflict = resume.ConflictFail
		name = "f-" + string(id)
	}
	o := resume.PublishOptions{Conflict: conflict, Mode: f.mode}
	if f.sidecar != "" {
		o.Sidecar = []byte(f.sidecar)
	}
	location, err := d.store.Publish(context.Background(), id, publishDir, name, o)
	if err != nil {
		return ignore(err)
	}
	if f.location != "" && f.location != location {
		return fmt.Errorf("published at %s, then at %s", f.location, location)
	}
	d.change(id, func(f *fate) { f.location = location })
	return nil
}

func (d *driver) settle(id resume.ID) error {
	result := fmt.Sprint("result ", d.rng.IntN(1000))
	d.change(id, func(f *fate) {
		if f.most >= 1 {
			f.results = append(f.results, result)
			f.most = 2
		}
	})
	return ignore(d.store.Settle(context.Background(), id, []byte(result)))
}

func (d *driver) delete(id resume.ID) error {
	d.change(id, func(f *fate) { f.going = true })
	err := d.store.Delete(context.Background(), id)
	switch {
	case err == nil:
		d.change(id, func(f *fate) { f.gone = true })
	case errors.Is(err, resume.ErrNotFound):
		d.change(id, func(f *fate) { f.going = false })
	}
	return ignore(err) // after another error it is going until the store says that it is there
}
