package storetest

import (
	"maps"
	"strings"

	"github.com/wsingest/wsingest/resume"
)

var openPromises = []promise{
	{"CreatesWhatIsNotThere", func(r *rig) {
		info := resume.Info{
			ID: resume.NewID(), Owner: "someone", Name: "päper.pdf", Type: "application/pdf", Length: 10,
			Metadata: map[string]string{"a": "1", "ü": ""},
		}
		c := r.must(resume.OpenOptions{Info: info})
		st := c.State()
		r.equal("phase", st.Phase, resume.Receiving)
		r.equal("epoch", st.Epoch, uint64(1))
		r.equal("cursor", c.Cursor(), int64(0))
		r.equal("start", c.Start(), int64(0))
		r.sameInfo(st.Info, info)
		if st.Created.IsZero() || st.Updated.IsZero() {
			r.Fatalf("created %v, updated %v", st.Created, st.Updated)
		}
		r.reopen()
		r.sameInfo(r.stat(info.ID).Info, info)
	}},
	{"KeepsStringsByteForByte", func(r *rig) {
		info := resume.Info{
			ID: resume.NewID(), Owner: "\xff\x00\"\\", Name: "\x00base64:x\xfe", Type: "<>&\u2028", Length: 1,
			Metadata: map[string]string{"\xff": "\xfe", "\xfd": "\n"},
		}
		r.must(resume.OpenOptions{Info: info})
		r.reopen()
		r.sameInfo(r.stat(info.ID).Info, info)
		stranger := info
		stranger.Owner = "\xfe\x00\"\\"
		_, err := r.store.Open(r.ctx, resume.OpenOptions{Info: stranger})
		r.wantErr("Open by an owner that differs in a byte", err, resume.ErrNotFound)
	}},
	{"TakesTheLargestInfoAndResult", func(r *rig) {
		// Control characters are what swells most in many encodings.
		long := strings.Repeat("\x01", resume.MaxNameLength)
		info := resume.Info{ID: resume.ID(strings.Repeat("x", resume.MaxIDLength)), Owner: long, Name: long, Type: long, Length: 1,
			Metadata: map[string]string{"k": strings.Repeat("\x02", resume.MaxMetadataSize-1)}}
		c := r.must(resume.OpenOptions{Info: info})
		r.write(c, []byte{1})
		r.finish(c)
		result := random(1, resume.MaxResultSize)
		if err := r.store.Settle(r.ctx, info.ID, result); err != nil {
			r.Fatalf("Settle: %v", err)
		}
		r.reopen()
		st := r.stat(info.ID)
		r.sameInfo(st.Info, info)
		r.equal("result", string(st.Result), string(result))
	}},
	{"RefusesABadID", func(r *rig) {
		for _, id := range []resume.ID{"", "short", resume.ID(strings.Repeat("x", 65)), "../../../../etc/passwd00", resume.ID(strings.Repeat("é", 15))} {
			_, err := r.store.Open(r.ctx, resume.OpenOptions{Info: resume.Info{ID: id}})
			r.wantErr("Open", err, resume.ErrBadID)
			_, err = r.store.Stat(r.ctx, id)
			r.wantErr("Stat", err, resume.ErrBadID)
			r.wantErr("Delete", r.store.Delete(r.ctx, id), resume.ErrBadID)
		}
	}},
	{"TakesIDsThatLookLikeOptions", func(r *rig) {
		for _, id := range []resume.ID{"-rf-rf-rf-rf-rf-rf-rf-rf", "______________________", "----------------------"} {
			c := r.begin(id, 3)
			r.write(c, []byte("abc"))
			r.finish(c)
			r.equal("content", string(r.content(id)), "abc")
		}
	}},
	{"IsIdempotent", func(r *rig) {
		id := resume.NewID()
		for i := range 3 {
			c := r.begin(id, 10)
			r.equal("cursor", c.Cursor(), int64(0))
			r.equal("epoch", c.State().Epoch, uint64(i+1))
		}
	}},
	{"IgnoresNameTypeAndMetadataOfAnExistingUpload", func(r *rig) {
		info := resume.Info{ID: resume.NewID(), Name: "first", Type: "a/b", Length: 1}
		r.must(resume.OpenOptions{Info: info})
		c := r.must(resume.OpenOptions{Info: resume.Info{ID: info.ID, Name: "second", Type: "c/d", Length: 1,
			Metadata: map[string]string{"x": "y"}}})
		r.sameInfo(c.State().Info, info)
	}},
	{"MustExistDoesNotCreate", func(r *rig) {
		id := resume.NewID()
		_, err := r.store.Open(r.ctx, resume.OpenOptions{Info: resume.Info{ID: id}, MustExist: true})
		r.wantErr("Open", err, resume.ErrNotFound)
		_, err = r.store.Stat(r.ctx, id)
		r.wantErr("Stat", err, resume.ErrNotFound)
	}},
	{"AStrangerFindsNothingAndDisturbsNobody", func(r *rig) {
		info := resume.Info{ID: resume.NewID(), Owner: "a", Length: 4}
		c := r.must(resume.OpenOptions{Info: info})
		for _, owner := range []string{"", "b", "A", "a "} {
			info.Owner = owner
			_, err := r.store.Open(r.ctx, resume.OpenOptions{Info: info})
			r.wantErr("Open by "+owner, err, resume.ErrNotFound)
		}
		r.write(c, []byte("goes"))
	}},
	{"ALengthThatContradictsIsRefusedAndDisturbsNobody", func(r *rig) {
		id := resume.NewID()
		c := r.begin(id, 4)
		for _, l := range []int64{0, 3, 5} {
			_, err := r.store.Open(r.ctx, resume.OpenOptions{Info: resume.Info{ID: id, Length: l}})
			r.wantErr("Open", err, resume.ErrLength)
		}
		_, err := r.store.Open(r.ctx, resume.OpenOptions{Info: resume.Info{ID: resume.NewID(), Length: -2}})
		r.wantErr("Open with length -2", err, resume.ErrLength)
		r.write(c, []byte("goes"))
		r.begin(id, resume.UnknownLength) // says nothing, so contradicts nothing
		r.equal("length", r.stat(id).Length, int64(4))
	}},
	{"AnUnknownLengthBecomesKnown", func(r *rig) {
		id := resume.NewID()
		c := r.begin(id, resume.UnknownLength)
		r.write(c, []byte("1234"))
		_, err := r.store.Open(r.ctx, resume.OpenOptions{Info: resume.Info{ID: id, Length: 3}})
		r.wantErr("Open with less than was received", err, resume.ErrLength)
		r.write(c, []byte("5"))
		c = r.begin(id, 6)
		r.equal("length", c.State().Length, int64(6))
		_, err = c.Write([]byte("67"))
		r.wantErr("Write past it", err, resume.ErrLength)
		r.write(c, []byte("6"))
		r.finish(c)
		r.equal("content", string(r.content(id)), "123456")
	}},
	{"ARangePastTheLengthIsRefused", func(r *rig) {
		id := resume.NewID()
		r.begin(id, 10)
		for _, rng := range []resume.Range{{Start: 0, End: 11}, {Start: 11, End: 12}, {Start: -1, End: 5}, {Start: 5, End: 5}, {Start: 6, End: 5}, {Start: 11, End: resume.Unbounded}} {
			_, err := r.store.Open(r.ctx, resume.OpenOptions{Info: resume.Info{ID: id, Length: 10}, Range: rng})
			r.wantErr("Open "+rng.String(), err, resume.ErrLength)
		}
		_, err := r.store.Open(r.ctx, resume.OpenOptions{Info: resume.Info{ID: resume.NewID(), Length: 10}, Range: resume.Range{Start: 0, End: 11}})
		r.wantErr("Open of a new upload", err, resume.ErrLength)
	}},
	{"TheNewestClaimWins", func(r *rig) {
		id := resume.NewID()
		notify, told := notifier()
		old := r.must(resume.OpenOptions{Info: resume.Info{ID: id, Length: 10}, Notify: notify})
		r.write(old, []byte("abc"))
		c := r.begin(id, 10)
		r.until("the old claim was told", told, func() bool { return old.Err() != nil })
		r.wantErr("Err", old.Err(), resume.ErrSuperseded)
		n, err := old.Write([]byte("XYZ"))
		r.wantErr("Write", err, resume.ErrSuperseded)
		r.equal("bytes taken in", n, 0)
		r.wantErr("Sync", old.Sync(r.ctx), resume.ErrSuperseded)
		_, err = old.Rewind(r.ctx)
		r.wantErr("Rewind", err, resume.ErrSuperseded)
		_, err = old.Finish(r.ctx, resume.FinishOptions{Length: 10})
		r.wantErr("Finish", err, resume.ErrSuperseded)
		r.equal("cursor of the new claim", c.Cursor(), int64(3))
		r.write(c, []byte("defghij"))
		r.finish(c)
		r.equal("content", string(r.content(id)), "abcdefghij")
	}},
	{"EpochsGrowOverRestarts", func(r *rig) {
		id := resume.NewID()
		last := uint64(0)
		for range 4 {
			c := r.begin(id, 10)
			if e := c.State().Epoch; e <= last {
				r.Fatalf("epoch %d after %d", e, last)
			} else {
				last = e
			}
			r.reopen()
			r.equal("epoch after a restart", r.stat(id).Epoch, last)
		}
	}},
	{"ACompleteUploadOpensToBeRead", func(r *rig) {
		id := r.complete([]byte("done"))
		c := r.begin(id, 4)
		r.equal("phase", c.State().Phase, resume.Complete)
		_, err := c.Write([]byte("x"))
		r.wantErr("Write", err, resume.ErrComplete)
		if err := r.store.Settle(r.ctx, id, []byte("ok")); err != nil {
			r.Fatal(err)
		}
		c = r.begin(id, 4)
		r.equal("phase", c.State().Phase, resume.Delivered)
		r.equal("result", string(c.State().Result), "ok")
		_, err = c.Write([]byte("x"))
		r.wantErr("Write", err, resume.ErrComplete)
	}},
	{"RefusesWhatIsTooLargeToKeep", func(r *rig) {
		id := resume.NewID()
		long := strings.Repeat("x", resume.MaxNameLength+1)
		for _, info := range []resume.Info{{Name: long}, {Type: long}, {Owner: long},
			{Metadata: map[string]string{"k": strings.Repeat("x", resume.MaxMetadataSize)}}} {
			info.ID = id
			if _, err := r.store.Open(r.ctx, resume.OpenOptions{Info: info}); err == nil {
				r.Fatal("Open took it")
			}
		}
		_, err := r.store.Stat(r.ctx, id)
		r.wantErr("Stat", err, resume.ErrNotFound)
	}},
}

func (r *rig) sameInfo(got, want resume.Info) {
	r.Helper()
	if got.ID != want.ID || got.Owner != want.Owner || got.Name != want.Name || got.Type != want.Type ||
		got.Length != want.Length || got.WantSHA256 != want.WantSHA256 || !maps.Equal(got.Metadata, want.Metadata) {
		r.Fatalf("info: got %+v, want %+v", got, want)
	}
}
