package storetest

import (
	"context"
	"crypto/sha256"
	"errors"

	"github.com/wsingest/wsingest/resume"
)

var finishPromises = []promise{
	{"AFinishedUploadIsCompleteAndDurable", func(r *rig) {
		data := random(1, 3<<20+17)
		id := resume.NewID()
		c := r.begin(id, int64(len(data)))
		r.write(c, data)
		st := r.finish(c)
		r.equal("phase", st.Phase, resume.Complete)
		crc, ok := st.CRC32C()
		r.equal("checksum known", ok, true)
		r.equal("checksum", crc, resume.UpdateCRC32C(0, data))
		if st.SHA256 != nil {
			r.Fatal("a SHA-256 that nobody asked for")
		}
		r.reopen()
		r.equal("phase after a restart", r.stat(id).Phase, resume.Complete)
		r.equal("content", string(r.content(id)), string(data))
	}},
	{"AnEmptyUploadIsAnUpload", func(r *rig) {
		for _, length := range []int64{0, resume.UnknownLength} {
			id := resume.NewID()
			c := r.must(resume.OpenOptions{Info: resume.Info{ID: id, Length: length, WantSHA256: true}})
			st := r.finish(c)
			r.equal("phase", st.Phase, resume.Complete)
			r.equal("length", st.Length, int64(0))
			sum := sha256.Sum256(nil)
			r.equal("SHA-256", string(st.SHA256), string(sum[:]))
			r.reopen()
			r.equal("size", len(r.content(id)), 0)
		}
	}},
	{"AnUnknownLengthEndsWhereTheBytesDo", func(r *rig) {
		id := resume.NewID()
		c := r.begin(id, resume.UnknownLength)
		r.write(c, []byte("abc"))
		r.equal("length", r.finish(c).Length, int64(3))
	}},
	{"WhereAnUploadCameFromIsKeptUntilItIsDelivered", func(r *rig) {
		origin := random(2, resume.MaxOriginSize)
		id := resume.NewID()
		c := r.begin(id, 3)
		r.write(c, []byte("abc"))
		if _, err := c.Finish(r.ctx, resume.FinishOptions{Length: resume.UnknownLength, Origin: append(origin, 0)}); err == nil {
			r.Fatal("an origin that is too large was taken")
		}
		st, err := c.Finish(r.ctx, resume.FinishOptions{Length: resume.UnknownLength, Origin: origin})
		if err != nil {
			r.Fatal(err)
		}
		r.equal("origin", string(st.Origin), string(origin))
		_, err = c.Finish(r.ctx, resume.FinishOptions{Length: resume.UnknownLength, Origin: []byte("another")})
		if err != nil {
			r.Fatal(err)
		}
		r.reopen()
		r.equal("origin after a restart", string(r.stat(id).Origin), string(origin))
		for st, err := range r.store.All(r.ctx) {
			if err != nil {
				r.Fatal(err)
			}
			r.equal("origin among all uploads", string(st.Origin), string(origin))
		}
		if err := r.store.Settle(r.ctx, id, []byte("taken")); err != nil {
			r.Fatal(err)
		}
		r.equal("bytes of origin when delivered", len(r.stat(id).Origin), 0)
	}},
	{"AnIncompleteUploadSaysWhatIsMissingAndGoesOn", func(r *rig) {
		id := resume.NewID()
		c := r.begin(id, 10)
		r.write(c, []byte("abc"))
		_, err := c.Finish(r.ctx, resume.FinishOptions{Length: resume.UnknownLength})
		r.wantErr("Finish", err, resume.ErrIncomplete)
		var incomplete *resume.IncompleteError
		if !errors.As(err, &incomplete) || len(incomplete.Missing) != 1 || incomplete.Missing[0] != (resume.Range{Start: 3, End: 10}) {
			r.Fatalf("missing: %v", err)
		}
		r.equal("phase", c.State().Phase, resume.Receiving)
		r.write(c, []byte("defghij"))
		r.finish(c)
	}},
	{"ALengthAtTheEndIsChecked", func(r *rig) {
		c := r.begin(resume.NewID(), resume.UnknownLength)
		r.write(c, []byte("abc"))
		_, err := c.Finish(r.ctx, resume.FinishOptions{Length: 2})
		r.wantErr("Finish with less than was received", err, resume.ErrLength)
		_, err = c.Finish(r.ctx, resume.FinishOptions{Length: 4})
		r.wantErr("Finish with more than was received", err, resume.ErrIncomplete)
		c.Checkpoint()
		r.write(c, []byte("d"))
		_, err = c.Finish(r.ctx, resume.FinishOptions{Length: 4})
		if err != nil {
			r.Fatal(err)
		}

		c = r.begin(resume.NewID(), 3)
		r.write(c, []byte("abc"))
		_, err = c.Finish(r.ctx, resume.FinishOptions{Length: 4})
		r.wantErr("Finish with another length than was known", err, resume.ErrLength)
		r.finish(c)
	}},
	{"DigestsAreCompared", func(r *rig) {
		data := random(9, 2<<20+5)
		sum, crc := sha256.Sum256(data), resume.UpdateCRC32C(0, data)
		wrongSum, wrongCRC := sha256.Sum256(nil), crc+1
		id := resume.NewID()
		c := r.begin(id, int64(len(data)))
		r.write(c, data)
		for _, o := range []resume.FinishOptions{
			{SHA256: wrongSum[:]}, {CRC32C: &wrongCRC}, {SHA256: sum[:], CRC32C: &wrongCRC}, {SHA256: wrongSum[:], CRC32C: &crc},
		} {
			o.Length = resume.UnknownLength
			_, err := c.Finish(r.ctx, o)
			r.wantErr("Finish with a wrong digest", err, resume.ErrDigestMismatch)
			r.equal("phase", c.State().Phase, resume.Receiving)
		}
		st, err := c.Finish(r.ctx, resume.FinishOptions{Length: resume.UnknownLength, SHA256: sum[:], CRC32C: &crc})
		if err != nil {
			r.Fatal(err)
		}
		r.equal("SHA-256", string(st.SHA256), string(sum[:]))
		r.reopen()
		r.equal("SHA-256 after a restart", string(r.stat(id).SHA256), string(sum[:]))
	}},
	{"ASHA256IsThereWhenItWasWanted", func(r *rig) {
		data := random(4, 5<<20+123)
		sum := sha256.Sum256(data)
		id := resume.NewID()
		open := resume.OpenOptions{Info: resume.Info{ID: id, Length: int64(len(data)), WantSHA256: true}}
		c := r.must(open)
		r.write(c, data[:2<<20])
		c.Checkpoint()
		r.write(c, random(77, 2<<20))
		r.sync(c)
		r.rewind(c, 2<<20)
		r.write(c, data[2<<20:4<<20])
		r.sync(c)
		r.reopen() // the hash goes on where it was
		c = r.must(open)
		r.write(c, data[4<<20:])
		r.equal("SHA-256", string(r.finish(c).SHA256), string(sum[:]))
	}},
	{"ASHA256MayBeWantedLater", func(r *rig) {
		id := resume.NewID()
		r.write(r.begin(id, 6), []byte("abc"))
		c := r.must(resume.OpenOptions{Info: resume.Info{ID: id, Length: 6, WantSHA256: true}})
		r.write(c, []byte("def"))
		sum := sha256.Sum256([]byte("abcdef"))
		r.equal("SHA-256", string(r.finish(c).SHA256), string(sum[:]))
	}},
	{"FinishingAgainSucceedsWithTheSameDigests", func(r *rig) {
		data := []byte("abc")
		sum, crc := sha256.Sum256(data), resume.UpdateCRC32C(0, data)
		id := r.complete(data)
		wrong := sha256.Sum256(nil)
		wrongCRC := crc ^ 1
		for _, settled := range []bool{false, true} {
			if settled {
				if err := r.store.Settle(r.ctx, id, nil); err != nil {
					r.Fatal(err)
				}
			}
			c := r.begin(id, 3)
			if _, err := c.Finish(r.ctx, resume.FinishOptions{Length: 3, SHA256: sum[:], CRC32C: &crc}); err != nil {
				r.Fatalf("Finish: %v", err)
			}
			_, err := c.Finish(r.ctx, resume.FinishOptions{Length: 4})
			r.wantErr("Finish with another length", err, resume.ErrLength)
			_, err = c.Finish(r.ctx, resume.FinishOptions{Length: 3, CRC32C: &wrongCRC})
			r.wantErr("Finish with another CRC-32C", err, resume.ErrDigestMismatch)
			if !settled {
				_, err = c.Finish(r.ctx, resume.FinishOptions{Length: 3, SHA256: wrong[:]})
				r.wantErr("Finish with another SHA-256", err, resume.ErrDigestMismatch)
			}
		}
	}},
}

var lanePromises = []promise{
	{"LanesStandSideBySide", func(r *rig) {
		id := resume.NewID()
		data := random(6, 40)
		lanes := []resume.Claim{r.lane(id, 40, 0, 10), r.lane(id, 40, 10, 20), r.lane(id, 40, 20, 30), r.lane(id, 40, 30, 40)}
		for i, c := range lanes {
			r.equal("cursor", c.Cursor(), int64(10*i))
			r.write(c, data[10*i:10*i+5])
		}
		r.equal("extents", len(lanes[0].State().Received), 4)
		for i, c := range lanes {
			r.write(c, data[10*i+5:10*i+10])
		}
		r.finish(lanes[2])
		r.equal("content", string(r.content(id)), string(data))
	}},
	{"ALaneSupersedesOnlyWhatItOverlaps", func(r *rig) {
		id := resume.NewID()
		a, b, c := r.lane(id, 30, 0, 10), r.lane(id, 30, 10, 20), r.lane(id, 30, 20, 30)
		r.lane(id, 30, 15, 20)
		r.equal("Err of the first", a.Err(), error(nil))
		r.wantErr("Err of the second", b.Err(), resume.ErrSuperseded)
		r.equal("Err of the third", c.Err(), error(nil))
		r.begin(id, 30)
		r.wantErr("Err of the first", a.Err(), resume.ErrSuperseded)
		r.wantErr("Err of the third", c.Err(), resume.ErrSuperseded)
	}},
	{"FinishWaitsForOtherLanes", func(r *rig) {
		id := resume.NewID()
		a, b := r.lane(id, 6, 0, 3), r.lane(id, 6, 3, 6)
		r.write(a, []byte("abc"))
		finished := make(chan error, 1)
		go func() {
			_, err := a.Finish(r.ctx, resume.FinishOptions{Length: 6})
			finished <- err
		}()
		r.write(b, []byte("d"))
		r.write(b, []byte("ef"))
		if err := <-finished; err != nil {
			r.Fatalf("Finish: %v", err)
		}
		r.equal("content", string(r.content(id)), "abcdef")
		r.wantErr("Err of the other lane", b.Err(), resume.ErrComplete)
		r.finish(b)
	}},
	{"FinishEndsWhenTheLaneItWaitsForDoes", func(r *rig) {
		id := resume.NewID()
		a, b := r.lane(id, 6, 0, 3), r.lane(id, 6, 3, 6)
		r.write(a, []byte("abc"))
		r.write(b, []byte("d"))
		finished := make(chan error, 1)
		go func() {
			_, err := a.Finish(r.ctx, resume.FinishOptions{Length: 6})
			finished <- err
		}()
		if err := b.Close(); err != nil {
			r.Fatal(err)
		}
		r.wantErr("Finish", <-finished, resume.ErrIncomplete)
		r.equal("Err", a.Err(), error(nil))
	}},
	{"FinishWaitsNoLongerThanItsContext", func(r *rig) {
		id := resume.NewID()
		a := r.lane(id, 6, 0, 3)
		r.lane(id, 6, 3, 6)
		r.write(a, []byte("abc"))
		ctx, cancel := context.WithCancel(r.ctx)
		cancel()
		_, err := a.Finish(ctx, resume.FinishOptions{Length: 6})
		r.wantErr("Finish", err, context.Canceled)
		r.equal("phase", a.State().Phase, resume.Receiving)
	}},
	{"FinishDoesNotWaitForItself", func(r *rig) {
		id := resume.NewID()
		a, b := r.lane(id, 6, 0, 3), r.lane(id, 6, 3, 6)
		r.write(b, []byte("def"))
		_, err := a.Finish(r.ctx, resume.FinishOptions{Length: 6})
		r.wantErr("Finish", err, resume.ErrIncomplete)
	}},
	{"EveryLaneMayFinish", func(r *rig) {
		id := resume.NewID()
		a, b := r.lane(id, 6, 0, 3), r.lane(id, 6, 3, 6)
		finished := make(chan error, 2)
		for c, p := range map[resume.Claim]string{a: "abc", b: "def"} {
			go func() {
				_, err := c.Write([]byte(p))
				if err == nil {
					_, err = c.Finish(r.ctx, resume.FinishOptions{Length: 6})
				}
				finished <- err
			}()
		}
		for range 2 {
			if err := <-finished; err != nil {
				r.Fatalf("Finish: %v", err)
			}
		}
		r.equal("content", string(r.content(id)), "abcdef")
	}},
}
