package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"time"
)

// report is all that was measured, and how.
type report struct {
	When       time.Time
	Machine    string // it, and the versions of what ran on it
	Size       int64
	Rounds     int
	Files      int64
	Congestion string
	Cold       string // why the page cache's memory was not warmed up; empty: it was
	NoPaths    string // why paths were not shaped; empty: they were

	Loopback  []*result
	Small     []*result
	Paths     []*pathResult
	Scale     []*scaleResult
	Directory []*directoryResult

	failures []error
}

// fastest is what a machine may write in a second, in bytes, to tell how much
// memory a run of a certain time may need.
const fastest = 2.5e9

// measureAll adds to r what is not in it.
func (c config) measureAll(r *report) {
	loopback, small := c.selected(r.Loopback, false), c.selected(r.Small, true)
	scale := c.crowds(r.Scale)
	if len(loopback)+len(small)+len(scale) > 0 {
		need := 4 * c.size // files, and those before them that are being freed
		if len(scale) > 0 {
			need = max(need, int64(c.window.Seconds()*1.5*fastest))
		}
		pool := warmPool(need+slack, c.stopped)
		r.Cold = pool.note
		c.measure(loopback, c.size, min(128<<20, c.size))
		c.measure(small, c.files, min(200, c.files))
		c.scale(scale)
		pool.close() // what follows is not about memory, and may need some
	}
	r.Loopback, r.Small = inOrder(append(r.Loopback, loopback...)), inOrder(append(r.Small, small...))
	r.Scale = append(r.Scale, scale...)
	slices.SortFunc(r.Scale, func(a, b *scaleResult) int { return a.Connections - b.Connections })
	if len(r.Directory) == 0 {
		var err error
		if r.Directory, err = c.directory(); err != nil {
			r.failures = append(r.failures, fmt.Errorf("%s: %w", directoryKey, err))
		}
	}
	c.overPaths(r)
}

// kept returns the report of an earlier run that is to be gone on with, or a
// new one.
func (c config) kept() (*report, error) {
	r := &report{When: time.Now().UTC(), Size: c.size, Rounds: c.rounds, Files: c.files, Congestion: c.congestion}
	if c.keep == "" {
		return r, nil
	}
	b, err := os.ReadFile(c.keep)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	var old report
	if err == nil {
		err = json.Unmarshal(b, &old)
	}
	if err != nil {
		return nil, err
	}
	if old.Size != r.Size || old.Rounds != r.Rounds || old.Files != r.Files || old.Congestion != r.Congestion {
		return nil, fmt.Errorf("%s was measured with other flags", c.keep)
	}
	old.drop()
	return &old, nil
}

// drop forgets what could not be measured, so that it is tried again.
func (r *report) drop() {
	empty := func(s *result) bool { return len(s.Samples) == 0 }
	r.Loopback, r.Small = slices.DeleteFunc(r.Loopback, empty), slices.DeleteFunc(r.Small, empty)
	r.Scale = slices.DeleteFunc(r.Scale, func(s *scaleResult) bool { return s.Failed != "" })
	r.Paths = slices.DeleteFunc(r.Paths, func(s *pathResult) bool { return s.Failed != "" })
}

func (r *report) writeJSON(path string) error {
	b, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(path, b, 0o644)
}

// failed returns what could not be measured.
func (r *report) failed() error {
	errs := r.failures
	add := func(what, why string) {
		if why != "" {
			errs = append(errs, fmt.Errorf("%s: %s", what, why))
		}
	}
	for _, s := range append(r.Loopback, r.Small...) {
		add(s.Key, s.Failed)
	}
	for _, s := range r.Scale {
		add(scaleKey(s.Connections), s.Failed)
	}
	for _, s := range r.Paths {
		add(s.Path.key(s.Key), s.Failed)
	}
	return errors.Join(errs...)
}

// print writes all tables, as Markdown.
func (r *report) print(w io.Writer) error {
	var b bytes.Buffer
	if r.Machine != "" {
		fmt.Fprintf(&b, "\n%s, %s.\n", r.When.Format(time.DateOnly), r.Machine)
	}
	r.printLoopback(&b)
	r.printSmall(&b)
	r.printPaths(&b)
	r.printScale(&b)
	r.printDirectory(&b)
	r.printTargets(&b)
	_, err := b.WriteTo(w)
	return err
}
