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
	Size      int64 // of an upload, the same in every round
	Samples   []pathSample
	Failed    string
}

// pathSample is one upload over a path.
type pathSample struct {
	Rate float64 // MB/s, of the whole upload
	Late float64 // MB/s, of the second half of its bytes
	CPU  float64 // of the server, seconds per GiB
}

func pathRate(s pathSample) float64 { return s.Rate }
func pathLate(s pathSample) float64 { return s.Late }
func pathCPU(s pathSample) float64  { return s.CPU }

// of returns the median of what its samples say.
func (r *pathResult) of(what func(pathSample) float64) float64 { return median(r.each(what)) }

func (r *pathResult) each(what func(pathSample) float64) (v []float64) {
	for _, s := range r.Samples {
		v = append(v, what(s))
	}
	return v
}

// ofLink is the part of the link's bits that was file data, at a rate in MB/s.
func (r *pathResult) ofLink(rate float64) float64 { return rate * 1e6 * 8 / float64(r.Path.Rate) }

// overPaths adds to a report all rows over all paths that are not in it. Those
// over one path are interleaved.
func (c config) overPaths(into *report) {
	for _, p := range c.routes {
		results := c.pending(p, into)
		for round := range c.pathRounds {
			for _, r := range results {
				if r.Failed != "" || c.stopped() {
					continue
				}
				err := c.over(r)
				if errors.Is(err, errNoNetwork) && !c.stopped() {
					into.NoPaths = err.Error()
					say("shaped paths are not measured: %v", err)
					return
				}
				r.noted(round, err)
			}
			if round == 0 {
				c.level(results)
			}
		}
		if !c.stopped() { // a path that has not got all its rounds is measured again
			into.Paths = append(into.Paths, results...)
		}
	}
}

// pending returns the results-to-be over a path that are asked for, and that
// are not there yet.
func (c config) pending(p route, there *report) (results []*pathResult) {
	for _, key := range p.rows {
		if c.rows.MatchString(p.key(key)) && there.over(p.path, key) == nil {
			results = append(results, &pathResult{Path: p.path, Key: key})
		}
	}
	return results
}

// level has one connection and several make the same upload over a path that
// loses packets, that of those who had the larger one. What a connection sends
// before its first loss has the rate of a path without any: where that is much
// of a smaller upload, it was no measurement of the loss.
func (c config) level(results []*pathResult) {
	var most int64
	for _, r := range results {
		if r.comparesLanes() && r.Path.Loss > 0 {
			most = max(most, r.Size)
		}
	}
	for _, r := range results {
		if r.comparesLanes() && r.Failed == "" && r.Size < most && !c.stopped() {
			r.Size, r.Samples = most, nil
			r.noted(0, c.over(r))
		}
	}
}

// comparesLanes reports whether r is one of the two rows that differ in lanes
// alone.
func (r *pathResult) comparesLanes() bool { return r.Key == goRow || r.Key == lanesRow }

// noted says how a round went.
func (r *pathResult) noted(round int, err error) {
	what := fmt.Sprintf("round %d, %s", round+1, r.Path.key(r.Key))
	if err != nil {
		r.Failed = err.Error()
		say("%s: %v", what, err)
		return
	}
	s := r.Samples[len(r.Samples)-1]
	say("%s: %.1f MB/s, in the second half %.1f, %.0f%% of the link", what, s.Rate, s.Late, r.ofLink(s.Late)*100)
}

// over makes an upload over a path that takes c.transfer, or somewhat longer.
// How large that is, smaller ones before the first tell.
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
	if r.Size > 0 {
		s, _, err := t.overPath(r.Size)
		r.Samples = append(r.Samples, s)
		return err
	}
	aim := c.transfer.Seconds()
	most := float64(r.Path.Rate) / 8 * aim
	for size := r.Path.guess() * aim / 2; ; {
		n := max(int64(min(size, most)), row.least)
		s, took, err := t.overPath(n)
		if err != nil {
			return err
		}
		if took > aim*0.6 || size >= most {
			r.Size, r.Samples = n, append(r.Samples, s)
			return nil
		}
		// The beginning of a connection is slow, so the rate seen is the least.
		size *= max(1.7, min(8, aim/took))
	}
}

// overPath makes one upload of size bytes, and returns how many seconds it took.
func (t *pair) overPath(size int64) (s pathSample, took float64, err error) {
	before := cpu(family(t.server.pid())...)
	when, err := t.send(size)
	if err != nil {
		return s, 0, err
	}
	took = when.seconds()
	return pathSample{
		Rate: float64(size) / 1e6 / took,
		Late: float64(size/2) / 1e6 / (float64(when.End-when.Half) / 1e9),
		CPU:  (cpu(family(t.server.pid())...) - before) / (float64(size) / (1 << 30)),
	}, took, nil
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
