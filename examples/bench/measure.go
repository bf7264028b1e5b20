package main

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"time"
)

// sample is one run of a row.
type sample struct {
	Rate   float64 // MB/s, or files/s
	CPU    float64 // of the server, seconds per GiB, or per 1,000 files
	Memory int64   // peak of the server, bytes
	Tail   float64 // seconds from the last byte in the file to the answer; 0: not known
	Others float64 // part of all CPU time that went to something else
}

// result is what a row came to.
type result struct {
	Key, Name string
	Samples   []sample
	Disturbed int    // runs thrown away
	Failed    string // why there are no samples
}

const (
	// mostOthers is the part of the CPU from which a run counts as disturbed.
	mostOthers = 0.1
	// patience bounds the wait for a quiet moment before a run.
	patience = 15 * time.Second
)

// selected returns the results-to-be of the rows that the command line asks
// for, and that are not there yet: those with files, or those without.
func (c config) selected(there []*result, files bool) (results []*result) {
	for _, r := range rows {
		if r.load == nil && r.files == files && c.rows.MatchString(r.key) &&
			!slices.ContainsFunc(there, func(old *result) bool { return old.Key == r.key }) {
			results = append(results, &result{Key: r.key, Name: r.name})
		}
	}
	return results
}

// inOrder sorts results as rows are.
func inOrder(results []*result) []*result {
	at := func(key string) int { return slices.IndexFunc(rows, func(r row) bool { return r.key == key }) }
	slices.SortFunc(results, func(a, b *result) int { return at(a.Key) - at(b.Key) })
	return results
}

// measure makes uploads of size, round after round, so that what changes over
// time changes for all rows. A disturbed run is thrown away and made up for in
// a later round, of which there are at most as many again.
func (c config) measure(results []*result, size, warmUp int64) {
	for round := 1; round <= 2*c.rounds; round++ {
		for _, res := range results {
			if len(res.Samples) < c.rounds && res.Failed == "" && !c.stopped() {
				c.add(res, round, size, warmUp)
			}
		}
	}
}

// add runs a row once.
func (c config) add(res *result, round int, size, warmUp int64) {
	r, err := rowOf(res.Key)
	var s sample
	if err == nil {
		s, err = c.once(r, size, warmUp)
	}
	what := fmt.Sprintf("round %d, %s", round, r.key)
	switch {
	case err != nil:
		res.Failed = err.Error()
		say("%s: %v", what, err)
	case s.Others > mostOthers:
		res.Disturbed++
		say("%s: thrown away, %.0f%% of the CPU went to something else", what, s.Others*100)
	default:
		res.Samples = append(res.Samples, s)
		say("%s: %.0f %s, %.2f s of CPU per %s", what, s.Rate, r.unit(), s.CPU, r.per())
	}
}

// say tells whoever waits for the results how far things are.
func say(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

// once runs a server and a client, each a process of its own, for one upload.
func (c config) once(r row, size, warmUp int64) (s sample, err error) {
	t, err := c.begin(r, path{})
	defer t.end()
	if err != nil {
		return s, err
	}
	if _, err := t.send(warmUp); err != nil {
		return s, fmt.Errorf("warm-up: %w", err)
	}
	waitQuiet()
	return t.transfer(r, size)
}

// transfer has the client send, and reads what that cost.
func (t *pair) transfer(r row, size int64) (s sample, err error) {
	pids := t.pids()
	before, others, began := cpu(family(t.server.pid())...), othersCPU(pids...), time.Now()
	span, err := t.send(size)
	if err != nil {
		return s, err
	}
	used := cpu(family(t.server.pid())...) - before
	s.Others = (othersCPU(pids...) - others) / time.Since(began).Seconds() / float64(runtime.NumCPU())
	s.Memory = peakMemory(family(t.server.pid())...)
	e, err := t.ledger("")
	if err != nil {
		return s, err
	}
	if e.At > span.Start {
		s.Tail = float64(span.End-e.At) / 1e9
	}
	if r.untilWritten {
		span.End, used = e.At, e.CPU-before
	}
	units := float64(size)
	if !r.files {
		units /= 1e6
	}
	s.Rate = units / span.seconds()
	s.CPU = used / (float64(size) / r.gauge())
	return s, nil
}

// unit is what the rates of a row are in.
func (r row) unit() string {
	if r.files {
		return "files/s"
	}
	return "MB/s"
}

// gauge is how many units of size the CPU time of a row is given for, and per
// is what that is called.
func (r row) gauge() float64 {
	if r.files {
		return 1000
	}
	return 1 << 30
}

func (r row) per() string {
	if r.files {
		return "1,000 files"
	}
	return "GiB"
}

// waitQuiet waits until nothing else uses much of the CPU, within patience.
func waitQuiet() {
	const look = 100 * time.Millisecond
	for until := time.Now().Add(patience); time.Now().Before(until); {
		before, began := othersCPU(os.Getpid()), time.Now()
		time.Sleep(look)
		if (othersCPU(os.Getpid())-before)/time.Since(began).Seconds() < mostOthers*float64(runtime.NumCPU()) {
			return
		}
	}
}
