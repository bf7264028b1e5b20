package storetest

import (
	"sync/atomic"

	"github.com/wsingest/wsingest/resume"
)

var durabilityPromises = []promise{
	{"SyncMakesEverythingTakenInDurable", func(r *rig) {
		id := resume.NewID()
		c := r.begin(id, 1<<20)
		data := random(3, 1<<20)
		for off := 0; off < len(data); off += 128 << 10 {
			r.write(c, data[off:off+128<<10])
			r.sync(c)
			r.equal("durable", c.Durable(), int64(off+128<<10))
		}
		r.extents("durable", r.stat(id).Durable, data, resume.Range{Start: 0, End: 1 << 20})
	}},
	{"DurableFollowsByItself", func(r *rig) {
		notify, told := notifier()
		c := r.must(resume.OpenOptions{Info: resume.Info{ID: resume.NewID(), Length: 100}, Notify: notify})
		r.write(c, random(1, 60))
		r.until("the bytes were durable", told, func() bool { return c.Durable() == 60 })
	}},
	{"DurableNeverPassesTheCursor", func(r *rig) {
		id := resume.NewID()
		c := r.begin(id, 100)
		r.write(c, random(1, 100))
		r.sync(c)
		c = r.begin(id, 100)
		if err := c.SetCursor(40); err != nil {
			r.Fatal(err)
		}
		r.equal("durable", c.Durable(), int64(40))
		r.write(c, random(2, 10))
		r.equal("durable", c.Durable(), int64(50))
	}},
	{"NotifyIsNotCalledConcurrentlyWithItself", func(r *rig) {
		var inside, calls atomic.Int32
		id := resume.NewID()
		c := r.must(resume.OpenOptions{Info: resume.Info{ID: id, Length: 100}, Notify: func() {
			if inside.Add(1) != 1 {
				r.Error("Notify was called while it ran")
			}
			calls.Add(1)
			inside.Add(-1)
		}})
		for range 100 {
			r.write(c, []byte{1})
			r.sync(c)
		}
		r.begin(id, 100)
		if calls.Load() == 0 {
			r.Fatal("Notify was never called")
		}
	}},
	{"WhatWasDurableIsThereAfterARestart", func(r *rig) {
		id := resume.NewID()
		data := random(5, 300_000)
		c := r.begin(id, int64(len(data)))
		r.write(c, data[:100_001])
		r.sync(c)
		r.write(c, data[100_001:200_002])
		r.reopen() // Close makes the rest durable
		c = r.begin(id, int64(len(data)))
		r.equal("cursor", c.Cursor(), int64(200_002))
		r.extents("durable", c.State().Durable, data, resume.Range{Start: 0, End: 200_002})
		r.write(c, data[200_002:])
		r.finish(c)
		r.equal("content", string(r.content(id)), string(data))
	}},
	{"WhatAClosedClaimTookInBecomesDurable", func(r *rig) {
		id := resume.NewID()
		notify, told := notifier()
		lane := r.must(resume.OpenOptions{Info: resume.Info{ID: id, Length: 100}, Range: resume.Range{Start: 50, End: 100}, Notify: notify})
		c := r.lane(id, 100, 0, 50)
		r.write(c, random(1, 20))
		if err := c.Close(); err != nil {
			r.Fatal(err)
		}
		r.until("the closed claim's bytes were durable", told, func() bool { return lane.State().Durable.Size() == 20 })
	}},
	{"CloseOfTheStoreEndsAllClaims", func(r *rig) {
		notify, told := notifier()
		c := r.must(resume.OpenOptions{Info: resume.Info{ID: resume.NewID(), Length: 9}, Notify: notify})
		r.write(c, []byte("abc"))
		r.close()
		r.until("the claim was told", told, func() bool { return c.Err() != nil })
		_, err := c.Write([]byte("d"))
		r.wantErr("Write", err, resume.ErrClosed)
		r.wantErr("Sync", c.Sync(r.ctx), resume.ErrClosed)
	}},
	{"StatesAreSnapshots", func(r *rig) {
		c := r.begin(resume.NewID(), 9)
		r.write(c, []byte("abc"))
		before := c.State()
		r.write(c, []byte("def"))
		r.rewind(c, 0)
		r.write(c, []byte("XYZXYZ"))
		r.sync(c)
		r.extents("received", before.Received, []byte("abc"), resume.Range{Start: 0, End: 3})
	}},
}
