package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wsingest/wsingest/resume"
	"github.com/wsingest/wsingest/resume/filestore"
)

// directoryKey is what -rows says of a store that holds many uploads.
const directoryKey = "directory"

// fewUploads is what a store with many is compared with.
const fewUploads = 100

// directoryResult is how long things take in a store that holds so many
// uploads. Times are in seconds.
type directoryResult struct {
	Uploads int
	Fill    float64 // to put them there
	Start   float64 // to open the store, median
	Create  float64 // to open a new upload, median
	Resume  float64 // to take up one that is there, median
	Look    float64 // to read the state of them all
	Expire  float64 // to find and remove them all, once they have expired
}

// directory measures a store with few uploads and one with many, in a process
// of its own.
func (c config) directory() (results []*directoryResult, err error) {
	if !c.rows.MatchString(directoryKey) || c.stopped() {
		return nil, nil
	}
	dir, err := os.MkdirTemp(c.dir, "directory-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	p, err := c.start(job{Role: "directory", Row: directoryKey, Dir: dir, Uploads: c.uploads, Looks: c.looks})
	if err != nil {
		return nil, err
	}
	defer p.end()
	s, err := p.line()
	if err != nil {
		return nil, err
	}
	return results, json.Unmarshal([]byte(s), &results)
}

func (j job) beDirectory() error {
	stores := []*stocked{{directoryResult: directoryResult{Uploads: fewUploads}}, {directoryResult: directoryResult{Uploads: j.Uploads}}}
	var results []directoryResult
	for _, s := range stores {
		s.dir = filepath.Join(j.Dir, fmt.Sprint(s.Uploads))
		if err := s.fill(); err != nil {
			return fmt.Errorf("%d uploads: %w", s.Uploads, err)
		}
		say("a directory of %d uploads was filled in %.1f s", s.Uploads, s.Fill)
	}
	if err := compare(stores, j.Looks); err != nil {
		return err
	}
	for _, s := range stores {
		if err := s.expire(); err != nil {
			return fmt.Errorf("%d uploads: %w", s.Uploads, err)
		}
		results = append(results, s.directoryResult)
	}
	return json.NewEncoder(os.Stdout).Encode(results)
}

// stocked is a store that holds unfinished uploads of 1 KiB.
type stocked struct {
	directoryResult
	dir   string
	ids   []resume.ID
	store *filestore.Store
}

func (s *stocked) open(o filestore.Options) (err error) {
	s.store, err = filestore.New(s.dir, o)
	return err
}

func (s *stocked) fill() error {
	if err := s.open(filestore.Options{}); err != nil {
		return err
	}
	began := time.Now()
	s.ids = make([]resume.ID, s.Uploads)
	var at atomic.Int64
	err := sharedOut(64, 64, func(int64) error {
		for {
			i := int(at.Add(1)) - 1
			if i >= s.Uploads {
				return nil
			}
			s.ids[i] = resume.NewID()
			c, err := s.store.Open(context.Background(), resume.OpenOptions{Info: resume.Info{ID: s.ids[i], Length: 2048}})
			if err != nil {
				return err
			}
			_, err = c.Write(payload[:1024])
			if err := errors.Join(err, c.Sync(context.Background()), c.Close()); err != nil {
				return err
			}
		}
	})
	s.Fill = time.Since(began).Seconds()
	return errors.Join(err, s.store.Close())
}

// compare times what can be done in each store, in turn, so that what changes
// over time changes for all.
func compare(stores []*stocked, looks int) error {
	times := make([][3][]float64, len(stores))
	for range 5 {
		for i, s := range stores {
			began := time.Now()
			if err := s.open(filestore.Options{}); err != nil {
				return err
			}
			times[i][0] = append(times[i][0], time.Since(began).Seconds())
			if err := s.store.Close(); err != nil {
				return err
			}
		}
	}
	for _, s := range stores {
		if err := s.open(filestore.Options{}); err != nil {
			return err
		}
	}
	for look := range looks {
		for i, s := range stores {
			for kind, id := range []resume.ID{resume.NewID(), s.ids[look*7919%len(s.ids)]} {
				took, err := s.openOne(id)
				if err != nil {
					return err
				}
				times[i][1+kind] = append(times[i][1+kind], took)
			}
		}
	}
	for i, s := range stores {
		s.Start, s.Create, s.Resume = median(times[i][0]), median(times[i][1]), median(times[i][2])
		began := time.Now()
		for _, err := range s.store.All(context.Background()) {
			if err != nil {
				return err
			}
		}
		s.Look = time.Since(began).Seconds()
		if err := s.store.Close(); err != nil {
			return err
		}
	}
	return nil
}

// openOne times an Open, and leaves a new upload there: it has one byte, and
// expires with the others.
func (s *stocked) openOne(id resume.ID) (seconds float64, err error) {
	began := time.Now()
	c, err := s.store.Open(context.Background(), resume.OpenOptions{Info: resume.Info{ID: id, Length: 2048}})
	if err != nil {
		return 0, err
	}
	seconds = time.Since(began).Seconds()
	return seconds, c.Close()
}

// expire opens the store once more, with everything in it about to expire, and
// waits until nothing is left.
func (s *stocked) expire() error {
	time.Sleep(2 * time.Second) // the age of an upload is counted in whole seconds
	var once sync.Once
	var left atomic.Int64
	left.Store(int64(s.Uploads))
	gone := make(chan bool)
	began := time.Now()
	err := s.open(filestore.Options{
		ExpireUnfinished: time.Second,
		ScanInterval:     time.Second,
		OnExpire: func(resume.State) {
			if left.Add(-1) <= 0 {
				once.Do(func() { close(gone) })
			}
		},
	})
	if err != nil {
		return err
	}
	<-gone
	s.Expire = time.Since(began).Seconds()
	return s.store.Close()
}
