package main

import (
	"fmt"
	"io"
	"runtime"
	"slices"
)

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

// of returns the median of what its samples say.
func (r *result) of(what func(sample) float64) float64 { return median(r.each(what)) }

func (r *result) each(what func(sample) float64) (v []float64) {
	for _, s := range r.Samples {
		v = append(v, what(s))
	}
	return v
}

func rateOf(s sample) float64   { return s.Rate }
func cpuOf(s sample) float64    { return s.CPU }
func memoryOf(s sample) float64 { return float64(s.Memory) / (1 << 20) }
func tailOf(s sample) float64   { return s.Tail * 1000 }

// find returns the result of a row, nil if there is none to speak of.
func find(results []*result, key string) *result {
	for _, r := range results {
		if r.Key == key && len(r.Samples) > 0 {
			return r
		}
	}
	return nil
}

// gap says why a row has no numbers.
func (r *result) gap() string {
	switch {
	case r.Failed != "":
		return "failed"
	case r.Disturbed > 0:
		return "no undisturbed run"
	}
	return "not measured"
}

func (r *report) printLoopback(w io.Writer) {
	if len(r.Loopback) == 0 {
		return
	}
	base := find(r.Loopback, rawRow)
	fmt.Fprintln(w, "\n| into a file, over loopback | MB/s | from - to | of raw TCP | server CPU, s/GiB | peak memory, MiB | waiting for the end, ms |")
	fmt.Fprintln(w, "|---|---:|---:|---:|---:|---:|---:|")
	for _, s := range r.Loopback {
		if len(s.Samples) == 0 {
			fmt.Fprintf(w, "| %s | %s | | | | | |\n", s.Name, s.gap())
			continue
		}
		ratio, tail := "-", "-"
		if base != nil {
			ratio = fmt.Sprintf("%.2f", s.of(rateOf)/base.of(rateOf))
		}
		if t := s.of(tailOf); t > 0 {
			tail = fmt.Sprintf("%.0f", t)
		}
		rates := s.each(rateOf)
		fmt.Fprintf(w, "| %s | %.0f | %.0f - %.0f | %s | %.2f | %.0f | %s |\n", s.Name,
			s.of(rateOf), slices.Min(rates), slices.Max(rates), ratio, s.of(cpuOf), s.of(memoryOf), tail)
	}
	fmt.Fprintf(w, "\nMedians of %d interleaved rounds of %d MiB, %d cores shared by client and server, %s.", r.Rounds, r.Size>>20, runtime.NumCPU(), runtime.Version())
	fmt.Fprint(w, " Waiting for the end: from the last byte in the file to the answer, part of the time the rate is made of unless the row does not wait for the disk.")
	printThrown(w, r.Loopback, r.Rounds)
	if r.Cold != "" {
		fmt.Fprintf(w, "\n%s\n", r.Cold)
	}
}

func (r *report) printSmall(w io.Writer) {
	if len(r.Small) == 0 {
		return
	}
	fmt.Fprintf(w, "\n| %d files of %d KiB | files/s | from - to | server CPU, s per 1,000 | peak memory, MiB |\n", r.Files, smallSize>>10)
	fmt.Fprintln(w, "|---|---:|---:|---:|---:|")
	for _, s := range r.Small {
		if len(s.Samples) == 0 {
			fmt.Fprintf(w, "| %s | %s | | | |\n", s.Name, s.gap())
			continue
		}
		rates := s.each(rateOf)
		fmt.Fprintf(w, "| %s | %.0f | %.0f - %.0f | %.2f | %.0f |\n", s.Name,
			s.of(rateOf), slices.Min(rates), slices.Max(rates), s.of(cpuOf), s.of(memoryOf))
	}
	fmt.Fprint(w, "\nEvery file of wsingest is on the disk, verified and delivered when its answer comes; tusd syncs nothing.")
	printThrown(w, r.Small, r.Rounds)
}

// printThrown says which runs are missing.
func printThrown(w io.Writer, results []*result, rounds int) {
	thrown := 0
	for _, s := range results {
		thrown += s.Disturbed
	}
	fmt.Fprintf(w, " %d runs were thrown away, because something else took more than a tenth of the CPU.\n", thrown)
	for _, s := range results {
		if n := len(s.Samples); n > 0 && n < rounds {
			fmt.Fprintf(w, "%s: %d rounds only.\n", s.Name, n)
		}
	}
}

func (r *report) printPaths(w io.Writer) {
	if r.NoPaths != "" {
		fmt.Fprintf(w, "\nShaped paths were not measured: %s.\n", r.NoPaths)
	}
	if len(r.Paths) == 0 {
		return
	}
	fmt.Fprintln(w, "\n| round trip, rate, loss | | MB/s | from - to | of the link | second half, MB/s | of the link | server CPU, s/GiB | upload, MB |")
	fmt.Fprintln(w, "|---|---|---:|---:|---:|---:|---:|---:|---:|")
	for _, s := range r.Paths {
		if s.Failed != "" {
			fmt.Fprintf(w, "| %v | %s | failed | | | | | | |\n", s.Path, s.Name)
			continue
		}
		rates := s.each(pathRate)
		fmt.Fprintf(w, "| %v | %s | %.1f | %.1f - %.1f | %.2f | %.1f | %.2f | %.2f | %.0f |\n", s.Path, s.Name,
			median(rates), slices.Min(rates), slices.Max(rates), s.ofLink(median(rates)),
			s.of(pathLate), s.ofLink(s.of(pathLate)), s.of(pathCPU), float64(s.Size)/1e6)
	}
	fmt.Fprintf(w, "\nMedians of interleaved uploads, each of which begins with its connection and ends with the server's answer; its second half shows the rate once TCP has found it. "+
		"The kernel's TCP with %s and buffers up to 64 MiB at both ends; the bottleneck queues one bandwidth-delay product, or 256 KiB.\n", r.Congestion)
}

func (r *report) printScale(w io.Writer) {
	if len(r.Scale) == 0 {
		return
	}
	fmt.Fprintln(w, "\n| connections | MB/s in all | from - to | server CPU, s/GiB | received after, ms (p99) | durable after, ms (p99) | fairness (Jain) | slowest, of the mean | memory each, KiB | when idle |")
	fmt.Fprintln(w, "|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
	for _, s := range r.Scale {
		if s.Failed != "" {
			fmt.Fprintf(w, "| %d | failed | | | | | | | | |\n", s.Connections)
			continue
		}
		idle := "-"
		if s.Connections >= enoughToDivide {
			idle = fmt.Sprintf("%.1f", s.Idle/1024)
		}
		fmt.Fprintf(w, "| %d | %.0f | %.0f - %.0f | %.2f | %.0f (%.0f) | %.0f (%.0f) | %.3f | %.2f | %.0f | %s |\n", s.Connections, s.Rate, s.Slow, s.Fast, s.CPU,
			s.Received[0]*1000, s.Received[1]*1000, s.Durable[0]*1000, s.Durable[1]*1000, s.Jain, s.Least, s.Loaded/1024, idle)
	}
	fmt.Fprintln(w, "\nAll upload without end, each into a file of its own; of several rounds the one that was the median in throughput. Latency is counted from the start of a message's sending to the ack that covers it. Memory is what the server has resident more than before there were connections.")
}

func (r *report) printDirectory(w io.Writer) {
	if len(r.Directory) == 0 {
		return
	}
	fmt.Fprintln(w, "\n| uploads in the directory | start, ms | a new one, ms | take one up, ms | list all, s | expire all, s |")
	fmt.Fprintln(w, "|---:|---:|---:|---:|---:|---:|")
	for _, s := range r.Directory {
		fmt.Fprintf(w, "| %d | %.2f | %.3f | %.3f | %.2f | %.2f |\n", s.Uploads, s.Start*1e3, s.Create*1e3, s.Resume*1e3, s.Look, s.Expire)
	}
}
