package main

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// pathRows are the rows that are measured over shaped paths.
var pathRows = []string{rawRow, putRow, h2Row, tusdRow, goRow, lanesRow}

// route is a path, and the rows measured over it.
type route struct {
	path
	rows []string
}

// In the long form the round trip time varies alone, then the loss, then the
// rate. The short one has what targets speak of.
var (
	longRoutes = []route{
		{path{Trip: 10 * time.Millisecond, Rate: 1e9}, pathRows},
		{path{Trip: 50 * time.Millisecond, Rate: 1e9}, pathRows},
		{farPath, pathRows},
		{path{Trip: 200 * time.Millisecond, Rate: 1e9}, pathRows},
		{lossyPath, pathRows},
		{path{Trip: 100 * time.Millisecond, Rate: 1e9, Loss: 0.01}, pathRows},
		{path{Trip: 100 * time.Millisecond, Rate: 1e8}, pathRows},
		{path{Trip: 100 * time.Millisecond, Rate: 1e7}, pathRows},
	}
	shortRoutes = []route{
		{farPath, []string{rawRow, h2Row, goRow}},
		{lossyPath, []string{goRow, lanesRow}},
	}
)

// key is what -rows says of a row over the path.
func (p path) key(row string) string {
	return fmt.Sprintf("path-%dms-%dM-%g%%-%s", p.Trip.Milliseconds(), p.Rate/1e6, p.Loss*100, row)
}

// pathResult is what a row came to over a path.
type pathResult struct {
	Path      path
	Key, Name string
	Rate      float64 // MB/s, of the whole upload
	Late      float64 // MB/s, of the second half of its bytes
	CPU       float64 // of the server, seconds per GiB
	Size      int64   // of the upload
	Failed    string
}

// ofLink is the part of the link's bits that was file data, at a rate in MB/s.
func (r *pathResult) ofLink(rate float64) float64 { return rate * 1e6 * 8 / float64(r.Path.Rate) }

// overPaths adds to a report all rows over all paths that are not in it.
func (c config) overPaths(into *report) {
	for _, p := range c.routes {
		for _, key := range p.rows {
			if !c.rows.MatchString(p.key(key)) || into.over(p.path, key) != nil || c.stopped() {
				continue
			}
			r := &pathResult{Path: p.path, Key: key}
			err := c.over(r)
			if errors.Is(err, errNoNetwork) {
				into.NoPaths = err.Error()
				return
			}
			if err != nil {
				r.Failed = err.Error()
				say("%s: %v", p.key(key), err)
			} else {
				say("%s: %.1f MB/s, in the second half %.1f, %.0f%% of the link", p.key(key), r.Rate, r.Late, r.ofLink(r.Late)*100)
			}
			into.Paths = append(into.Paths, r)
		}
	}
}

// over makes an upload over a path that takes c.transfer, or somewhat longer.
// How large that is, smaller ones before it tell.
func (c config) over(r *pathResult) error {
	row, err := rowOf(r.Key)
	if err != nil {
		return err
	}
	r.Name = row.name
	t, err := c.begin(row, r.Path)
	defer t.end()
	if err != nil {
		return err
	}
	aim := c.transfer.Seconds()
	most := float64(r.Path.Rate) / 8 * aim
	for size := r.Path.guess() * aim / 2; ; {
		r.Size = max(int64(min(size, most)), row.least)
		before := cpu(family(t.server.pid())...)
		s, err := t.send(r.Size)
		if err != nil {
			return err
		}
		took := s.seconds()
		r.Rate = float64(r.Size) / 1e6 / took
		r.Late = float64(r.Size/2) / 1e6 / (float64(s.End-s.Half) / 1e9)
		r.CPU = (cpu(family(t.server.pid())...) - before) / (float64(r.Size) / (1 << 30))
		if took > aim*0.6 || size >= most {
			return nil
		}
		// The beginning of a connection is slow, so the rate seen is the least.
		size *= max(1.7, min(8, aim/took))
	}
}

// guess is bytes per second that a connection makes over p in any case: a
// quarter of the link, or what Reno makes of the loss (Mathis et al., "The
// macroscopic behavior of the TCP congestion avoidance algorithm", 1997).
func (p path) guess() float64 {
	const segment = 1448
	rate := float64(p.Rate) / 8 / 4
	if p.Loss > 0 {
		rate = min(rate, 1.22*segment/(p.Trip.Seconds()*math.Sqrt(p.Loss)))
	}
	return rate
}
