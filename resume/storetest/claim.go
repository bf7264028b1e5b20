package storetest

import (
	"sync"

	"github.com/wsingest/wsingest/resume"
)

var claimPromises = []promise{
	{"WriteMovesTheCursor", func(r *rig) {
		c := r.begin(resume.NewID(), 10)
		r.write(c, nil)
		r.write(c, []byte("abc"))
		r.write(c, []byte("defg"))
		r.equal("cursor", c.Cursor(), int64(7))
		r.equal("start", c.Start(), int64(0))
		r.extents("received", c.State().Received, []byte("abcdefg"), resume.Range{Start: 0, End: 7})
	}},
	{"WriteKeepsNoHoldOfTheBuffer", func(r *rig) {
		id := resume.NewID()
		c := r.begin(id, 8)
		p := []byte("good")
		r.write(c, p)
		copy(p, "evil")
		r.write(c, p)
		r.finish(c)
		r.equal("content", string(r.content(id)), "goodevil")
	}},
	{"TheHeadIsReadBackAsFarAsItReaches", func(r *rig) {
		id := resume.NewID()
		c := r.lane(id, 12, 0, 6)
		if _, ok := c.(resume.HeadReader); !ok {
			return // the store need not be able to
		}
		head := func(c resume.Claim, most int) string {
			p := make([]byte, most)
			n, err := c.(resume.HeadReader).ReadHead(p)
			if err != nil {
				r.Fatalf("ReadHead: %v", err)
			}
			return string(p[:n])
		}
		r.equal("head of nothing", head(c, 4), "")
		r.write(c, []byte("abc"))
		other := r.lane(id, 12, 6, 12)
		r.write(other, []byte("ghi"))
		r.equal("head before a gap", head(c, 10), "abc")
		r.write(c, []byte("def"))
		r.equal("head over two lanes", head(other, 20), "abcdefghi")
		r.equal("as much as fits", head(c, 4), "abcd")
		r.sync(c)
		r.sync(other)
		r.reopen()
		c = r.begin(id, 12)
		r.equal("head after a restart", head(c, 20), "abcdefghi")
		if err := r.store.Delete(r.ctx, id); err != nil {
			r.Fatal(err)
		}
		_, err := c.(resume.HeadReader).ReadHead(make([]byte, 4))
		r.wantErr("ReadHead of what was deleted", err, resume.ErrNotFound)
	}},
	{"AWritePastTheLengthTakesNothingIn", func(r *rig) {
		c := r.begin(resume.NewID(), 5)
		r.write(c, []byte("abc"))
		n, err := c.Write([]byte("def"))
		r.wantErr("Write", err, resume.ErrLength)
		r.equal("bytes taken in", n, 0)
		r.equal("cursor", c.Cursor(), int64(3))
		r.write(c, []byte("de"))
		r.finish(c)
	}},
	{"AWritePastTheRangeTakesNothingIn", func(r *rig) {
		c := r.lane(resume.NewID(), resume.UnknownLength, 10, 15)
		n, err := c.Write([]byte("abcdef"))
		r.wantErr("Write", err, resume.ErrLength)
		r.equal("bytes taken in", n, 0)
		r.write(c, []byte("abcde"))
		r.equal("cursor", c.Cursor(), int64(15))
	}},
	{"TheCursorBeginsAtTheFirstMissingByte", func(r *rig) {
		id := resume.NewID()
		r.write(r.lane(id, 30, 0, 10), random(1, 10))
		r.write(r.lane(id, 30, 12, 20), random(2, 5))
		c := r.begin(id, 30)
		r.equal("cursor", c.Cursor(), int64(10))
		r.equal("cursor of a lane", r.lane(id, 30, 13, 30).Cursor(), int64(17))
		r.equal("cursor of a lane that has all", r.lane(id, 30, 2, 8).Cursor(), int64(8))
	}},
	{"WritePassesOverWhatWasReceivedBefore", func(r *rig) {
		id := resume.NewID()
		r.write(r.lane(id, 12, 3, 6), []byte("DEF"))
		r.write(r.lane(id, 12, 8, 10), []byte("IJ"))
		c := r.begin(id, 12)
		r.write(c, []byte("abcdefghijkl"))
		r.equal("cursor", c.Cursor(), int64(12))
		r.finish(c)
		r.equal("content", string(r.content(id)), "abcDEFghIJkl")
	}},
	{"ASumThatIsKnownChangesNothing", func(r *rig) {
		id := resume.NewID()
		r.write(r.lane(id, 20, 3, 6), []byte("DEF"))
		c := r.lane(id, 20, 0, 15)
		r.writeSum(c, []byte("ab"))
		r.writeSum(c, nil)
		r.writeSum(c, []byte("cdefgh")) // a part of it is passed over
		c.Checkpoint()
		r.writeSum(c, []byte("XXX"))
		r.rewind(c, 8)
		r.writeSum(c, []byte("ijk"))
		n, err := resume.WriteSum(c, []byte("lmnopqrs"), resume.UpdateCRC32C(0, []byte("lmnopqrs")))
		r.wantErr("WriteSum past the range", err, resume.ErrLength)
		r.equal("bytes taken in", n, 0)
		r.extents("received", c.State().Received, []byte("abcDEFghijk"), resume.Range{Start: 0, End: 11})
		r.reopen()
		r.extents("received after a restart", r.stat(id).Received, []byte("abcDEFghijk"), resume.Range{Start: 0, End: 11})
		c = r.begin(id, 20)
		r.writeSum(c, []byte("lmnopqrst"))
		r.finish(c)
		r.equal("content", string(r.content(id)), "abcDEFghijklmnopqrst")
	}},
	{"SetCursorGoesBackOverWhatIsReceived", func(r *rig) {
		id := resume.NewID()
		r.write(r.begin(id, 10), []byte("abcde"))
		c := r.begin(id, 10)
		for _, off := range []int64{-1, 6, 10} {
			r.wantErr("SetCursor", c.SetCursor(off), resume.ErrLength)
		}
		if err := c.SetCursor(2); err != nil {
			r.Fatal(err)
		}
		r.equal("start", c.Start(), int64(2))
		r.equal("cursor", c.Cursor(), int64(2))
		r.write(c, []byte("CDEFGHIJ"))
		r.wantErr("SetCursor after Write", c.SetCursor(2), resume.ErrLength)
		r.finish(c)
		r.equal("content", string(r.content(id)), "abcdeFGHIJ")
	}},
	{"SetCursorDoesNotCrossAGap", func(r *rig) {
		id := resume.NewID()
		r.write(r.lane(id, 10, 2, 4), []byte("cd"))
		c := r.lane(id, 10, 2, 10)
		r.equal("cursor", c.Cursor(), int64(4))
		r.wantErr("SetCursor before the range", c.SetCursor(1), resume.ErrLength)
		if err := c.SetCursor(3); err != nil {
			r.Fatal(err)
		}
	}},
	{"RewindGoesBackToTheCheckpoint", func(r *rig) {
		id := resume.NewID()
		c := r.begin(id, 9)
		r.write(c, []byte("abc"))
		c.Checkpoint()
		r.write(c, []byte("XXXX"))
		r.rewind(c, 3)
		r.extents("received", c.State().Received, []byte("abc"), resume.Range{Start: 0, End: 3})
		r.write(c, []byte("def"))
		r.rewind(c, 3)
		r.write(c, []byte("defghi"))
		r.finish(c)
		r.equal("content", string(r.content(id)), "abcdefghi")
	}},
	{"RewindTakesBackWhatWasDurable", func(r *rig) {
		id := resume.NewID()
		c := r.begin(id, 9)
		r.write(c, []byte("abc"))
		c.Checkpoint()
		r.write(c, []byte("XXXX"))
		r.sync(c)
		r.equal("durable", c.Durable(), int64(7))
		r.rewind(c, 3)
		r.equal("durable", c.Durable(), int64(3))
		r.reopen()
		r.extents("durable after a restart", r.stat(id).Durable, []byte("abc"), resume.Range{Start: 0, End: 3})
	}},
	{"RewindKeepsWhatWasThereBefore", func(r *rig) {
		id := resume.NewID()
		r.write(r.lane(id, 12, 0, 3), []byte("abc"))
		r.write(r.lane(id, 12, 6, 9), []byte("ghi"))
		c := r.begin(id, 12)
		r.write(c, []byte("XXXxxxXXX"))
		r.sync(c)
		r.rewind(c, 3)
		r.extents("received", c.State().Received, []byte("abc...ghi"), resume.Range{Start: 0, End: 3}, resume.Range{Start: 6, End: 9})
		r.write(c, []byte("defXXXjkl"))
		r.finish(c)
		r.equal("content", string(r.content(id)), "abcdefghijkl")
	}},
	{"RewindDoesNotTouchOtherLanes", func(r *rig) {
		id := resume.NewID()
		a, b := r.lane(id, 8, 0, 4), r.lane(id, 8, 4, 8)
		r.write(a, []byte("XXXX"))
		r.write(b, []byte("efgh"))
		r.sync(a)
		r.rewind(a, 0)
		r.extents("durable", a.State().Durable, []byte("....efgh"), resume.Range{Start: 4, End: 8})
		r.write(a, []byte("abcd"))
		r.finish(a)
		r.equal("content", string(r.content(id)), "abcdefgh")
	}},
	{"AFileIsNotLongerThanWhatRemainsAfterRewind", func(r *rig) {
		id := resume.NewID()
		c := r.begin(id, resume.UnknownLength)
		r.write(c, []byte("abc"))
		c.Checkpoint()
		r.write(c, random(1, 100_000))
		r.sync(c)
		r.rewind(c, 3)
		r.finish(c)
		r.equal("content", string(r.content(id)), "abc")
	}},
	{"TooManyGapsAreAnErrorAndNothingIsLost", func(r *rig) {
		id := resume.NewID()
		length := int64(4 * resume.MaxExtents)
		for i := range int64(resume.MaxExtents) {
			c := r.lane(id, length, 2*i, 2*i+1)
			r.write(c, []byte{byte(i)})
			if err := c.Close(); err != nil {
				r.Fatal(err)
			}
		}
		c := r.lane(id, length, length-10, length)
		n, err := c.Write([]byte{1})
		r.wantErr("Write of one gap more", err, resume.ErrTooManyGaps)
		r.equal("bytes taken in", n, 0)
		fill := r.lane(id, length, 1, 2)
		r.write(fill, []byte{77})
		r.write(c, []byte{1})
		r.reopen()
		r.equal("extents", len(r.stat(id).Durable), resume.MaxExtents)
	}},
	{"CloseMayBeCalledTwiceAndEndsTheClaim", func(r *rig) {
		id := resume.NewID()
		c := r.begin(id, 10)
		r.write(c, []byte("abc"))
		for range 2 {
			if err := c.Close(); err != nil {
				r.Fatal(err)
			}
		}
		_, err := c.Write([]byte("d"))
		r.wantErr("Write", err, resume.ErrClosed)
		r.wantErr("Err", c.Err(), resume.ErrClosed)
		r.equal("cursor of the next claim", r.begin(id, 10).Cursor(), int64(3))
	}},
	{"ErrIsNilWhileTheClaimLives", func(r *rig) {
		c := r.begin(resume.NewID(), 3)
		r.equal("Err", c.Err(), error(nil))
		r.write(c, []byte("abc"))
		r.equal("Err", c.Err(), error(nil))
	}},
	{"OpenWaitsForTheWriteUnderWay", func(r *rig) {
		id := resume.NewID()
		const size, rounds = 64 << 10, 60
		old := r.begin(id, size*rounds)
		var writers sync.WaitGroup
		for i := range rounds {
			c := old
			writers.Go(func() {
				for {
					if _, err := c.Write(random(uint64(i), size/4)); err != nil {
						return
					}
				}
			})
			old = r.begin(id, size*rounds)
			// Nothing of the claim before may arrive from here on.
			at := old.Cursor()
			r.extentsEnd(old, at)
		}
		if err := old.Close(); err != nil {
			r.Fatal(err)
		}
		writers.Wait()
	}},
}

func (r *rig) rewind(c resume.Claim, want int64) {
	r.Helper()
	cursor, err := c.Rewind(r.ctx)
	if err != nil {
		r.Fatalf("Rewind: %v", err)
	}
	r.equal("cursor after Rewind", cursor, want)
	r.equal("Cursor", c.Cursor(), want)
}

// extentsEnd checks that exactly [0, at) is received.
func (r *rig) extentsEnd(c resume.Claim, at int64) {
	r.Helper()
	st := c.State()
	if at == 0 && len(st.Received) == 0 {
		return
	}
	if len(st.Received) != 1 || st.Received[0].Range != (resume.Range{Start: 0, End: at}) {
		r.Fatalf("received %v, the cursor was at %d", st.Received, at)
	}
}
