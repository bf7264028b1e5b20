package main

import (
	"fmt"
	"io"
	"math"
	"time"
)

// target is a bound on something measured.
type target struct {
	what  string
	got   func(*report) float64 // NaN: not measured
	bound float64
	most  bool // bound is the most it may be, not the least
	unit  string
}

var targets = []target{
	{what: "not waiting for the disk, against raw TCP", got: against(looseRow, rawRow, rateOf), bound: 0.95},
	{what: "durable, against raw TCP with one fdatasync", got: against(fullRow, rawSyncRow, rateOf), bound: 1.1},
	{what: "durable, against raw TCP never synced", got: against(fullRow, rawRow, rateOf), bound: 0.85},
	{what: "durable, against tusd (which never syncs)", got: against(fullRow, tusdRow, rateOf), bound: 1.5},
	{what: "not waiting for the disk, against tusd", got: against(looseRow, tusdRow, rateOf), bound: 2},
	{what: "server CPU, not waiting for the disk, against tusd", got: against(looseRow, tusdRow, cpuOf), bound: 0.45, most: true},
	{what: "Go client, against the cheapest client", got: against(goRow, fullRow, rateOf), bound: 0.85},
	{what: "SHA-256, against none", got: against(shaRow, fullRow, rateOf), bound: 0.6},
	{what: "log at DEBUG, against INFO", got: against(debugRow, fullRow, rateOf), bound: 0.97},
	{what: "100 ms, 1 Gbit/s: second half of an upload, of the link", got: ofLink(farPath, goRow), bound: 0.9},
	{what: "100 ms, 1 Gbit/s: against HTTP/2 PUT into Caddy", got: overPath(farPath, goRow, h2Row), bound: 5},
	{what: "100 ms, 0.1 % loss: 4 lanes against 1", got: overPath(lossyPath, lanesRow, goRow), bound: 2.5},
	{what: "1,000 connections against 10", got: crowd, bound: 0.9},
	{what: "small files, against tusd with POST and PATCH", got: against(smallOursRow, smallTusdRow, rateOf), bound: 5},
	{what: "memory of an idle connection", got: idleMemory, bound: 32, most: true, unit: " KiB"},
	{what: "open a new upload beside very many, against few", got: beside(func(d *directoryResult) float64 { return d.Create }), bound: 1.2, most: true},
	{what: "take up an upload beside very many, against few", got: beside(func(d *directoryResult) float64 { return d.Resume }), bound: 1.2, most: true},
}

// The paths that targets speak of.
var (
	farPath   = path{Trip: 100 * time.Millisecond, Rate: 1e9}
	lossyPath = path{Trip: 100 * time.Millisecond, Rate: 1e9, Loss: 0.001}
)

// against is the ratio of two rows.
func against(row, base string, what func(sample) float64) func(*report) float64 {
	return func(r *report) float64 {
		all := append(r.Loopback[:len(r.Loopback):len(r.Loopback)], r.Small...)
		a, b := find(all, row), find(all, base)
		if a == nil || b == nil {
			return math.NaN()
		}
		return a.of(what) / b.of(what)
	}
}

func (r *report) over(p path, key string) *pathResult {
	for _, s := range r.Paths {
		if s.Path == p && s.Key == key && s.Failed == "" {
			return s
		}
	}
	return nil
}

func ofLink(p path, key string) func(*report) float64 {
	return func(r *report) float64 {
		if s := r.over(p, key); s != nil {
			return s.ofLink(s.of(pathLate))
		}
		return math.NaN()
	}
}

func overPath(p path, key, base string) func(*report) float64 {
	return func(r *report) float64 {
		a, b := r.over(p, key), r.over(p, base)
		if a == nil || b == nil {
			return math.NaN()
		}
		return a.of(pathRate) / b.of(pathRate)
	}
}

func (r *report) held(connections int) *scaleResult {
	for _, s := range r.Scale {
		if s.Connections == connections && s.Failed == "" {
			return s
		}
	}
	return nil
}

func crowd(r *report) float64 {
	many, few := r.held(1000), r.held(10)
	if many == nil || few == nil {
		return math.NaN()
	}
	return many.Rate / few.Rate
}

// enoughToDivide is how many connections it takes to tell what each takes from
// what the process takes.
const enoughToDivide = 100

// idleMemory is that of the most connections measured.
func idleMemory(r *report) float64 {
	for i := len(r.Scale) - 1; i >= 0; i-- {
		if s := r.Scale[i]; s.Failed == "" && s.Connections >= enoughToDivide {
			return s.Idle / 1024
		}
	}
	return math.NaN()
}

func beside(what func(*directoryResult) float64) func(*report) float64 {
	return func(r *report) float64 {
		if len(r.Directory) != 2 {
			return math.NaN()
		}
		return what(r.Directory[1]) / what(r.Directory[0])
	}
}

// printTargets says of every target that was measured whether it is met.
func (r *report) printTargets(w io.Writer) {
	fmt.Fprintln(w, "\n| target | bound | measured | |")
	fmt.Fprintln(w, "|---|---|---:|---|")
	for _, t := range targets {
		side := "at least"
		if t.most {
			side = "at most"
		}
		got := t.got(r)
		measured, verdict := fmt.Sprintf("%.2f%s", got, t.unit), "met"
		switch {
		case math.IsNaN(got):
			measured, verdict = "-", "not measured"
		case t.most && got > t.bound || !t.most && got < t.bound:
			verdict = "**missed**"
		}
		fmt.Fprintf(w, "| %s | %s %.2f%s | %s | %s |\n", t.what, side, t.bound, t.unit, measured, verdict)
	}
}
