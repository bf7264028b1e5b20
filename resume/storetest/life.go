package storetest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/wsingest/wsingest/resume"
)

var lifePromises = []promise{
	{"StatClaimsNothing", func(r *rig) {
		id := resume.NewID()
		c := r.begin(id, 3)
		r.equal("epoch", r.stat(id).Epoch, uint64(1))
		r.write(c, []byte("abc"))
		_, err := r.store.Stat(r.ctx, resume.NewID())
		r.wantErr("Stat of nothing", err, resume.ErrNotFound)
	}},
	{"AllYieldsEveryUpload", func(r *rig) {
		want := map[resume.ID]resume.Phase{}
		for i := range 20 {
			id := resume.NewID()
			c := r.begin(id, 1)
			want[id] = resume.Receiving
			if i%2 == 0 {
				r.write(c, []byte{1})
				r.finish(c)
				want[id] = resume.Complete
			}
			if i%4 == 0 {
				if err := r.store.Settle(r.ctx, id, nil); err != nil {
					r.Fatal(err)
				}
				want[id] = resume.Delivered
			}
			if i == 10 {
				r.reopen()
			}
		}
		seen := 0
		for st, err := range r.store.All(r.ctx) {
			if err != nil {
				r.Fatal(err)
			}
			r.equal("phase", st.Phase, want[st.ID])
			seen++
		}
		r.equal("uploads", seen, len(want))
		for range r.store.All(r.ctx) {
			break // and stop
		}
	}},
	{"ContentIsThereWhileComplete", func(r *rig) {
		id := resume.NewID()
		_, err := r.store.Content(r.ctx, id)
		r.wantErr("Content of nothing", err, resume.ErrNotFound)
		c := r.begin(id, 3)
		_, err = r.store.Content(r.ctx, id)
		r.wantErr("Content before the end", err, resume.ErrNotComplete)
		r.write(c, []byte("abc"))
		r.finish(c)
		r.equal("content", string(r.content(id)), "abc")
		if err := r.store.Settle(r.ctx, id, nil); err != nil {
			r.Fatal(err)
		}
		_, err = r.store.Content(r.ctx, id)
		r.wantErr("Content after delivery", err, resume.ErrNotFound)
	}},
	{"SettleKeepsTheFirstResult", func(r *rig) {
		id := resume.NewID()
		r.wantErr("Settle of nothing", r.store.Settle(r.ctx, id, nil), resume.ErrNotFound)
		c := r.begin(id, 3)
		r.wantErr("Settle before the end", r.store.Settle(r.ctx, id, nil), resume.ErrNotComplete)
		r.write(c, []byte("abc"))
		r.finish(c)
		if err := r.store.Settle(r.ctx, id, make([]byte, resume.MaxResultSize+1)); err == nil {
			r.Fatal("a result that is too large was taken")
		}
		for _, result := range []string{"first", "second"} {
			if err := r.store.Settle(r.ctx, id, []byte(result)); err != nil {
				r.Fatal(err)
			}
		}
		r.reopen()
		st := r.stat(id)
		r.equal("phase", st.Phase, resume.Delivered)
		r.equal("result", string(st.Result), "first")
		crc, ok := st.CRC32C()
		r.equal("checksum known", ok, true)
		r.equal("checksum", crc, resume.UpdateCRC32C(0, []byte("abc")))
	}},
	{"DeleteEndsClaimsAndForgets", func(r *rig) {
		id := resume.NewID()
		r.wantErr("Delete of nothing", r.store.Delete(r.ctx, id), resume.ErrNotFound)
		notify, told := notifier()
		c := r.must(resume.OpenOptions{Info: resume.Info{ID: id, Length: 9}, Notify: notify})
		r.write(c, []byte("abc"))
		r.sync(c)
		if err := r.store.Delete(r.ctx, id); err != nil {
			r.Fatal(err)
		}
		r.until("the claim was told", told, func() bool { return c.Err() != nil })
		_, err := c.Write([]byte("x"))
		r.wantErr("Write", err, resume.ErrNotFound)
		_, err = r.store.Stat(r.ctx, id)
		r.wantErr("Stat", err, resume.ErrNotFound)
		c = r.begin(id, 4)
		r.equal("cursor of a new upload with that id", c.Cursor(), int64(0))
		r.write(c, []byte("anew"))
		r.finish(c)
		r.reopen()
		r.equal("content", string(r.content(id)), "anew")
	}},
	{"DeleteTakesEveryPhase", func(r *rig) {
		for _, settled := range []bool{false, true} {
			id := r.complete([]byte("abc"))
			if settled {
				if err := r.store.Settle(r.ctx, id, nil); err != nil {
					r.Fatal(err)
				}
			}
			if err := r.store.Delete(r.ctx, id); err != nil {
				r.Fatal(err)
			}
			r.reopen()
			_, err := r.store.Stat(r.ctx, id)
			r.wantErr("Stat", err, resume.ErrNotFound)
		}
	}},
	{"UploadsDoNotDisturbEachOther", func(r *rig) {
		type one struct {
			id   resume.ID
			data []byte
			err  error
		}
		done := make(chan one)
		const n = 16
		for i := range n {
			go func() {
				o := one{id: resume.NewID(), data: random(uint64(i), 50_000+i)}
				o.err = r.sendInPieces(o.id, o.data)
				done <- o
			}()
		}
		for range n {
			o := <-done
			if o.err != nil {
				r.Fatal(o.err)
			}
			r.equal("content", string(r.content(o.id)), string(o.data))
		}
	}},
}

func (r *rig) sendInPieces(id resume.ID, data []byte) error {
	c, err := r.store.Open(r.ctx, resume.OpenOptions{Info: resume.Info{ID: id, Length: int64(len(data))}})
	if err != nil {
		return err
	}
	defer c.Close()
	for len(data) > 0 {
		n := min(len(data), 7001)
		if _, err := c.Write(data[:n]); err != nil {
			return err
		}
		if err := c.Sync(r.ctx); err != nil {
			return err
		}
		data = data[n:]
	}
	_, err = c.Finish(r.ctx, resume.FinishOptions{Length: resume.UnknownLength})
	return err
}

var publishPromises = []promise{
	{"AFileAppearsUnderItsName", func(r *rig) {
		data := random(8, 2<<20)
		id := r.complete(data)
		path := r.publish(id, "a.bin", resume.ConflictFail)
		r.equal("location", path, filepath.Join(r.backend.PublishDir, "a.bin"))
		r.file(path, string(data))
		r.equal("phase", r.stat(id).Phase, resume.Complete)
		r.equal("content", string(r.content(id)), string(data))
		if err := r.store.Settle(r.ctx, id, nil); err != nil {
			r.Fatal(err)
		}
		r.file(path, string(data))
		r.onlyFiles("a.bin")
	}},
	{"PublishingAgainFindsTheSameLocation", func(r *rig) {
		id := r.complete([]byte("abc"))
		first := r.publish(id, "a.txt", resume.ConflictRename)
		for range 2 {
			r.equal("location", r.publish(id, "a.txt", resume.ConflictRename), first)
			r.reopen()
		}
		if err := os.Remove(first); err != nil { // somebody took it away
			r.Fatal(err)
		}
		r.equal("location", r.publish(id, "a.txt", resume.ConflictRename), first)
		r.onlyFiles()
	}},
	{"ConflictRenameFindsAFreeName", func(r *rig) {
		for i, want := range []string{"a.tar.gz", "a (1).tar.gz", "a (2).tar.gz"} {
			id := r.complete([]byte{byte('0' + i)})
			path := r.publish(id, "a.tar.gz", resume.ConflictRename)
			r.equal("name", filepath.Base(path), want)
			r.file(path, fmt.Sprint(i))
		}
		for _, want := range []string{"noext", "noext (1)"} {
			r.equal("name", filepath.Base(r.publish(r.complete(nil), "noext", resume.ConflictRename)), want)
		}
		long := strings.Repeat("é", 125) + ".txt"
		r.publish(r.complete(nil), long, resume.ConflictRename)
		name := filepath.Base(r.publish(r.complete(nil), long, resume.ConflictRename))
		if len(name) > 255 || !strings.HasSuffix(name, "é (1).txt") {
			r.Fatalf("second long name: %q", name)
		}
	}},
	{"ConflictFailFails", func(r *rig) {
		r.publish(r.complete([]byte("first")), "a", resume.ConflictFail)
		id := r.complete([]byte("second"))
		for range 2 {
			_, err := r.publisher().Publish(r.ctx, id, r.backend.PublishDir, "a", resume.PublishOptions{Conflict: resume.ConflictFail})
			r.wantErr("Publish", err, resume.ErrExists)
		}
		r.file(filepath.Join(r.backend.PublishDir, "a"), "first")
		r.equal("phase", r.stat(id).Phase, resume.Complete)
		r.file(r.publish(id, "b", resume.ConflictFail), "second")
	}},
	{"ConflictOverwriteReplaces", func(r *rig) {
		for _, text := range []string{"first", "the second"} {
			id := r.complete([]byte(text))
			r.file(r.publish(id, "a", resume.ConflictOverwrite), text)
			r.equal("content", string(r.content(id)), text)
		}
		r.onlyFiles("a")
	}},
	{"ASidecarStandsBesideItsFile", func(r *rig) {
		sidecar := func(conflict resume.Conflict, text string) resume.PublishOptions {
			return resume.PublishOptions{Conflict: conflict, Sidecar: []byte(text)}
		}
		id := r.complete([]byte("first"))
		first := r.publishWith(id, "a.txt", sidecar(resume.ConflictRename, "of the first"))
		r.equal("name again", r.publishWith(id, "a.txt", sidecar(resume.ConflictRename, "of nothing")), first)
		// A name is taken when its sidecar's is, and no upload gets one of a sidecar.
		r.lay("b.txt"+resume.SidecarSuffix, "somebody's")
		for name, want := range map[string]string{
			"a.txt":             "a (1).txt",
			"b.txt":             "b (1).txt",
			"a.txt.upload.json": "a.txt.upload (1).json",
			"C.txt.UPLOAD.JſON": "C.txt.UPLOAD (1).JſON",
			"a.json":            "a.json",
			"upload.json":       "upload.json",
			"x.upload.json.gz":  "x.upload.json.gz",
		} {
			path := r.publishWith(r.complete([]byte(name)), name, sidecar(resume.ConflictRename, "of "+name))
			r.equal("name", filepath.Base(path), want)
			r.file(path, name)
			r.file(path+resume.SidecarSuffix, "of "+name)
		}
		r.file(first, "first")
		r.file(first+resume.SidecarSuffix, "of the first")
		r.file(filepath.Join(r.backend.PublishDir, "b.txt"+resume.SidecarSuffix), "somebody's")
		for name, conflict := range map[string]resume.Conflict{
			"b.txt": resume.ConflictFail, "a.txt.upload.json": resume.ConflictOverwrite,
		} {
			_, err := r.publisher().Publish(r.ctx, r.complete(nil), r.backend.PublishDir, name, sidecar(conflict, "x"))
			r.wantErr("Publish of "+name, err, resume.ErrExists)
		}
		r.file(r.publishWith(r.complete([]byte("new")), "a.txt", sidecar(resume.ConflictOverwrite, "of the new")), "new")
		r.file(first+resume.SidecarSuffix, "of the new")
		long := strings.Repeat("é", 125) + ".txt"
		path := r.publishWith(r.complete(nil), long, sidecar(resume.ConflictFail, ""))
		r.file(path+resume.SidecarSuffix, "")
	}},
	{"PublishRefusesWhatIsNotAName", func(r *rig) {
		id := r.complete([]byte("abc"))
		for _, name := range []string{"", ".", "..", "a/b", "../a", "/a"} {
			if _, err := r.publisher().Publish(r.ctx, id, r.backend.PublishDir, name, resume.PublishOptions{Conflict: resume.ConflictFail}); err == nil {
				r.Fatalf("%q was taken", name)
			}
		}
		for _, o := range []resume.PublishOptions{
			{}, {Conflict: "sometimes"}, {Conflict: resume.ConflictFail, Mode: 0o4755}, {Conflict: resume.ConflictFail, Mode: 0o044},
			{Conflict: resume.ConflictFail, Owner: &resume.FileOwner{UID: -2}},
		} {
			if _, err := r.publisher().Publish(r.ctx, id, r.backend.PublishDir, "a", o); err == nil {
				r.Fatalf("%+v was taken", o)
			}
		}
		if _, err := r.publisher().Publish(r.ctx, id, filepath.Join(r.backend.PublishDir, "not there"), "a", resume.PublishOptions{Conflict: resume.ConflictFail}); err == nil {
			r.Fatal("a directory that is not there was taken")
		}
		r.publish(id, "a", resume.ConflictFail)
	}},
	{"PublishNeedsACompleteUpload", func(r *rig) {
		id := resume.NewID()
		_, err := r.publisher().Publish(r.ctx, id, r.backend.PublishDir, "a", resume.PublishOptions{Conflict: resume.ConflictFail})
		r.wantErr("Publish of nothing", err, resume.ErrNotFound)
		r.begin(id, 3)
		_, err = r.publisher().Publish(r.ctx, id, r.backend.PublishDir, "a", resume.PublishOptions{Conflict: resume.ConflictFail})
		r.wantErr("Publish before the end", err, resume.ErrNotComplete)
	}},
}

func (r *rig) publisher() resume.Publisher {
	r.Helper()
	p, ok := r.store.(resume.Publisher)
	if !ok {
		r.Fatalf("%T is no Publisher", r.store)
	}
	return p
}

func (r *rig) publish(id resume.ID, name string, conflict resume.Conflict) string {
	r.Helper()
	return r.publishWith(id, name, resume.PublishOptions{Conflict: conflict})
}

func (r *rig) publishWith(id resume.ID, name string, o resume.PublishOptions) string {
	r.Helper()
	path, err := r.publisher().Publish(r.ctx, id, r.backend.PublishDir, name, o)
	if err != nil {
		r.Fatalf("Publish: %v", err)
	}
	return path
}

func (r *rig) file(path, want string) {
	r.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		r.Fatal(err)
	}
	if string(b) != want {
		r.Fatalf("%s has %d bytes, not the %d expected", path, len(b), len(want))
	}
}

func (r *rig) lay(name, text string) {
	r.Helper()
	if err := os.WriteFile(filepath.Join(r.backend.PublishDir, name), []byte(text), 0o600); err != nil {
		r.Fatal(err)
	}
}

// onlyFiles checks that nothing else lies about in the directory.
func (r *rig) onlyFiles(want ...string) {
	r.Helper()
	entries, err := os.ReadDir(r.backend.PublishDir)
	if err != nil {
		r.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	r.equal("files", strings.Join(got, ","), strings.Join(want, ","))
}
