package filestore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/wsingest/wsingest/resume"
	"github.com/wsingest/wsingest/resume/filestore/internal/strictfs"
	"github.com/wsingest/wsingest/resume/filestore/internal/vfs"
)

// driver makes one run on one file system.
type driver struct {
	rng    *rand.Rand
	fs     *strictfs.FS
	store  *Store
	claims map[resume.ID][]resume.Claim
	// linkless fails what a file system without hard links never does.
	linkless func(op, path string) error

	mu    sync.Mutex // the hook of the file system looks at what follows
	world world
	cuts  []crash
}

// crash is what is left after a crash, and what the store had promised.
type crash struct {
	fs    *strictfs.FS
	world world
	how   string
}

// runAndCrash makes a run, checks its crashes, and goes on from some of them.
func (d *driver) runAndCrash(depth int) (int, error) {
	crashes := rand.New(rand.NewPCG(d.rng.Uint64(), 2))
	d.fs.After = func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		c := crash{world: d.world}
		if crashes.IntN(5) == 0 {
			c.fs, c.how = d.fs.Kill(), "killed"
		} else {
			c.fs, c.how = d.fs.Cut(crashes), "power cut"
		}
		d.cuts = append(d.cuts, c)
	}
	if err := d.run(); err != nil {
		return 0, fmt.Errorf("the run itself: %w", err)
	}
	d.fs.After = nil
	n := len(d.cuts)
	on := d.rng.IntN(max(n, 1)) // where to go on
	for i, c := range d.cuts {
		c.fs.Fail, c.fs.Drops = d.linkless, d.fs.Drops
		s, err := c.world.check(c.fs)
		if s != nil {
			err = errors.Join(err, s.Close())
		}
		if err != nil {
			return n, fmt.Errorf("%s after operation %d of %d: %w", c.how, i+1, n, err)
		}
		if i == on && depth > 1 {
			c.fs.Lie, c.fs.Fail = d.fs.Lie, d.fs.Fail
			next := &driver{rng: d.rng, fs: c.fs, linkless: d.linkless, world: c.world}
			next.fresh()
			more, err := next.runAndCrash(depth - 1)
			n += more
			if err != nil {
				return n, fmt.Errorf("%s after operation %d, and again: %w", c.how, i+1, err)
			}
		}
	}
	return n, nil
}

func (d *driver) change(id resume.ID, change func(f *fate)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.world = d.world.with(id, change)
}

func (d *driver) fresh() {
	d.mu.Lock()
	defer d.mu.Unlock()
	w := world{}
	for id, f := range d.world {
		w[id] = f
	}
	w[resume.ID(fmt.Sprintf("upload-%016x", d.rng.Uint64()))] = newFate(1 + d.rng.IntN(5*4096))
	d.world = w
}

func (d *driver) start() (err error) {
	o := Options{ScanInterval: Never, SyncBytes: 64 << 10, SyncInterval: time.Minute}
	if d.rng.IntN(4) == 0 {
		o.SyncInterval = time.Millisecond // the committer comes by itself
	}
	d.claims = map[resume.ID][]resume.Claim{}
	for first := true; first || vfs.IsFull(err) || ofDisk(err); first = false { // the journal is synced
		d.store, err = open(d.fs, crashDir, o)
	}
	if err == nil {
		d.store.block = 1000 // so that small files are hashed in several
		d.store.small = []int64{-1, 3000, smallUpload}[d.rng.IntN(3)]
		if d.store.small > 0 {
			d.store.useJournal()
		}
		if j := d.store.journal.Load(); j != nil { // segments so small that much is carried over
			j.size = []int64{4 << 10, 12 << 10, 40 << 10}[d.rng.IntN(3)]
		}
	}
	return err
}

func (d *driver) run() error {
	if err := d.start(); err != nil {
		return err
	}
	for range 10 + d.rng.IntN(30) {
		if err := d.step(); err != nil {
			return errors.Join(err, d.store.Close())
		}
		if err := d.listen(); err != nil {
			return errors.Join(err, d.store.Close())
		}
	}
	return ignore(d.store.Close())
}

// listen notes what the store says now. It must not take anything back without
// a crash either.
func (d *driver) listen() error {
	for id, f := range d.world {
		st, err := d.store.Stat(context.Background(), id)
		if errors.Is(err, resume.ErrNotFound) || ofDisk(err) {
			continue
		}
		if err == nil && f.gone {
			err = fmt.Errorf("%s is there again after it was deleted", id)
		}
		if err == nil {
			err = f.checkBytes(st)
		}
		if err != nil {
			return err
		}
		d.change(id, func(f *fate) {
			f.going = false // a Delete that failed: what is told now counts
			f.ack(st)
			if st.Phase == resume.Delivered {
				f.result = string(st.Result)
			}
		})
	}
	return nil
}

func (d *driver) pick() (resume.ID, *fate) {
	ids := make([]string, 0, len(d.world))
	for id, f := range d.world {
		if !f.going { // nobody knows what became of it, if a crash came then
			ids = append(ids, string(id))
		}
	}
	if len(ids) == 0 {
		d.fresh()
		return d.pick()
	}
	slices.Sort(ids)
	id := resume.ID(ids[d.rng.IntN(len(ids))])
	return id, d.world[id]
}

func (d *driver) step() error {
	ctx := context.Background()
	id, f := d.pick()
	live := slices.DeleteFunc(d.claims[id], func(c resume.Claim) bool { return c.Err() != nil })
	d.claims[id] = live
	what := d.rng.IntN(100)
	if len(live) == 0 && what < 70 {
		return d.open(id, f)
	}
	switch {
	case what < 35:
		return d.write(id, live[d.rng.IntN(len(live))])
	case what < 45:
		return d.rewind(id, live[d.rng.IntN(len(live))])
	case what < 55:
		return ignore(live[d.rng.IntN(len(live))].Sync(ctx))
	case what < 60: // a sync nobody waits for
		ended, cancel := context.WithCancel(ctx)
		cancel()
		return ignore(live[d.rng.IntN(len(live))].Sync(ended), context.Canceled)
	case what < 64:
		return live[d.rng.IntN(len(live))].Close()
	case what < 70:
		return d.fillAndFinish(id, live[d.rng.IntN(len(live))])
	case what < 76:
		return d.open(id, f)
	case what < 84:
		return d.publish(id, f)
	case what < 91:
		return d.settle(id)
	case what < 94:
		return d.delete(id)
	case what < 97:
		d.fresh()
		return nil
	}
	if err := ignore(d.store.Close()); err != nil {
		return err
	}
	return d.start()
}

// ofDisk reports whether an error is one of the disk's, which the run gave it.
func ofDisk(err error) bool {
	return errors.Is(err, resume.ErrNoSpace) || errors.Is(err, syscall.EIO)
}

// ignore lets errors pass that are an answer.
func ignore(err error, more ...error) error {
	// io.EOF: a hash came to bytes that were dropped behind a failed sync. EIO: that sync.
	for _, ok := range append(more, io.EOF, syscall.EIO, resume.ErrNoSpace, resume.ErrComplete, resume.ErrIncomplete, resume.ErrNotComplete, resume.ErrNotFound, resume.ErrExists) {
		if errors.Is(err, ok) {
			return nil
		}
	}
	return err
}
