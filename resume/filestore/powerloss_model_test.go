package filestore

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/wsingest/wsingest/resume"
	"github.com/wsingest/wsingest/resume/filestore/internal/strictfs"
)

// What a power-loss run knows about its uploads: what was sent, and what the
// store has promised about it. A world is never changed in place, so that every
// cut can keep the one of its moment.
type world map[resume.ID]*fate

// fate of one upload.
type fate struct {
	sent []byte // as it was last written, by position
	// By position: maybe the store has it; the store said that it is durable.
	maybe, acked []bool

	length      int64 // once it is decided, else -1
	least, most int   // how far it is in its life, as an index of phases
	results     []string
	result      string // that the store said it has; when least is 2
	location    string // that the store said it is published at
	mode        fs.FileMode
	sidecar     string // published with it, if not ""
	going       bool   // Delete was called, and has not answered
	gone        bool   // it has
}

var phases = []resume.Phase{resume.Receiving, resume.Complete, resume.Delivered}

func (w world) with(id resume.ID, change func(f *fate)) world {
	out := maps.Clone(w)
	f := *w[id]
	f.sent, f.maybe, f.acked = slices.Clone(f.sent), slices.Clone(f.maybe), slices.Clone(f.acked)
	f.results = slices.Clone(f.results)
	change(&f)
	out[id] = &f
	return out
}

func newFate(size int) *fate {
	f := &fate{sent: make([]byte, size), maybe: make([]bool, size), acked: make([]bool, size), length: -1}
	if size%2 == 0 {
		f.mode = 0o640
	}
	if size%3 == 0 {
		f.sidecar = fmt.Sprint("of ", size, " bytes")
	}
	return f
}

func set(flags []bool, r resume.Range, to bool) {
	for i := r.Start; i < r.End; i++ {
		flags[i] = to
	}
}

// ack notes what the store says is durable.
func (f *fate) ack(st resume.State) {
	for _, e := range st.Durable {
		set(f.acked, e.Range, true)
	}
	f.least = max(f.least, slices.Index(phases, st.Phase))
}

// check opens a store on what a crash left, and holds it to what it promised.
// It returns the store, for more.
func (w world) check(fs *strictfs.FS) (*Store, error) {
	s, err := open(fs, crashDir, Options{ScanInterval: Never})
	if err != nil {
		return nil, err
	}
	for id, f := range w {
		if err := f.check(s, fs, id); err != nil {
			return s, fmt.Errorf("%s: %w", id, err)
		}
	}
	return s, w.checkPublished(fs)
}

func (f *fate) check(s *Store, fs *strictfs.FS, id resume.ID) error {
	st, err := s.Stat(context.Background(), id)
	if errors.Is(err, resume.ErrNotFound) {
		if !f.going && !f.gone && (f.least > 0 || slices.Contains(f.acked, true)) {
			return fmt.Errorf("it is not there any more")
		}
		return nil
	}
	switch {
	case err != nil:
		return err
	case f.gone:
		return fmt.Errorf("it is there again after it was deleted")
	}
	phase := slices.Index(phases, st.Phase)
	if phase < f.least && !f.going || phase > f.most {
		return fmt.Errorf("phase %s, it was %s, at most %s was asked for", st.Phase, phases[f.least], phases[f.most])
	}
	if err := f.checkBytes(st); err != nil {
		return err
	}
	switch st.Phase {
	case resume.Receiving:
		return f.checkFile(s, st, fs)
	case resume.Complete:
		return f.checkContent(s, st)
	}
	if !slices.Contains(f.results, string(st.Result)) || f.least == 2 && string(st.Result) != f.result {
		return fmt.Errorf("result %q, expected %q of %q", st.Result, f.result, f.results)
	}
	return nil
}

// checkBytes holds the extents against what was sent.
func (f *fate) checkBytes(st resume.State) error {
	for _, e := range st.Durable {
		if e.End > int64(len(f.sent)) || slices.Contains(f.maybe[e.Start:e.End], false) {
			return fmt.Errorf("%v is durable, but was not sent or was taken back", e.Range)
		}
		if resume.UpdateCRC32C(0, f.sent[e.Start:e.End]) != e.CRC32C {
			return fmt.Errorf("%v has the checksum of something else", e.Range)
		}
	}
	if f.going {
		return nil
	}
	for _, r := range st.Durable.Missing(resume.Range{Start: 0, End: int64(len(f.acked))}) {
		if i := slices.Index(f.acked[r.Start:r.End], true); i >= 0 {
			return fmt.Errorf("byte %d was durable and is missing; durable now: %v", r.Start+int64(i), st.Durable)
		}
	}
	return nil
}

// checkFile holds the bytes on the disk against what was sent.
func (f *fate) checkFile(s *Store, st resume.State, fs *strictfs.FS) error {
	u, err := s.acquire(context.Background(), st.ID)
	if err != nil {
		return err
	}
	defer u.release()
	var b []byte
	if u.small {
		b, err = s.journal.Load().content(st.ID)
	} else {
		b, err = fs.ReadFile(s.partPath(st.ID))
	}
	if err != nil {
		return err
	}
	for _, e := range st.Durable {
		if int64(len(b)) < e.End || !bytes.Equal(b[e.Start:e.End], f.sent[e.Start:e.End]) {
			return fmt.Errorf("the bytes of %v are not what was sent", e.Range)
		}
	}
	return nil
}

func (f *fate) checkContent(s *Store, st resume.State) error {
	ctx := context.Background()
	if st.Length != f.length {
		return fmt.Errorf("complete with %d bytes, expected %d", st.Length, f.length)
	}
	c, err := s.Content(ctx, st.ID)
	if err != nil {
		return err
	}
	defer c.Close()
	b := make([]byte, c.Size())
	if _, err := c.ReadAt(b, 0); err != nil && len(b) > 0 {
		return err
	}
	if !bytes.Equal(b, f.sent[:f.length]) {
		return fmt.Errorf("its content is not what was sent")
	}
	if sum := sha256.Sum256(b); st.SHA256 != nil && !bytes.Equal(st.SHA256, sum[:]) {
		return fmt.Errorf("its SHA-256 is that of something else")
	}
	if f.location == "" {
		return nil
	}
	again, err := s.Publish(ctx, st.ID, publishDir, "another", resume.PublishOptions{Conflict: resume.ConflictFail})
	if err != nil || again != f.location {
		return fmt.Errorf("published at %q, %v; it was at %q", again, err, f.location)
	}
	return nil
}

// checkDress: a file has its mode and its sidecar as soon as it has its name.
func (f *fate) checkDress(fs *strictfs.FS, name string) error {
	path := publishDir + "/" + name
	info, err := fs.Stat(path)
	if err != nil {
		return err
	}
	if f.mode != 0 && info.Mode() != f.mode {
		return fmt.Errorf("its mode is %v, expected %v", info.Mode(), f.mode)
	}
	if f.sidecar == "" {
		return nil
	}
	if b, err := fs.ReadFile(path + resume.SidecarSuffix); err != nil || string(b) != f.sidecar {
		return fmt.Errorf("its sidecar is %q (%v), expected %q", b, err, f.sidecar)
	}
	return nil
}

func (w world) hasSidecar(content string) bool {
	for _, f := range w {
		if f.sidecar == content {
			return true
		}
	}
	return false
}

// checkPublished: every file there is whole, and what was reported is there.
func (w world) checkPublished(fs *strictfs.FS) error {
	whole := func(name string, b []byte) error {
		if string(b) == oldFile {
			return nil
		}
		err := fmt.Errorf("it is not whole")
		for _, f := range w {
			if f.length >= 0 && f.most > 0 && bytes.Equal(b, f.sent[:f.length]) {
				if err = f.checkDress(fs, name); err == nil {
					return nil
				}
			}
		}
		return err
	}
	var failed error
	err := fs.List(publishDir, func(name string) bool {
		if strings.HasPrefix(name, ".wsingest-") {
			return true
		}
		b, err := fs.ReadFile(publishDir + "/" + name)
		switch {
		case isSidecar(name):
			if err == nil && !w.hasSidecar(string(b)) {
				err = fmt.Errorf("it is not whole")
			}
		case err == nil:
			err = whole(name, b)
		}
		if err != nil {
			failed = fmt.Errorf("published file %s (%d bytes): %w", name, len(b), err)
		}
		return failed == nil
	})
	if err != nil || failed != nil {
		return errors.Join(err, failed)
	}
	for id, f := range w {
		if f.location == "" {
			continue
		}
		b, err := fs.ReadFile(f.location)
		if err != nil || !bytes.Equal(b, f.sent[:f.length]) {
			return fmt.Errorf("%s: published at %s, but is not there: %v", id, f.location, err)
		}
	}
	return nil
}
