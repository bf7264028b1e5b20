package main

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// scaleResult is what so many connections at once came to.
type scaleResult struct {
	Connections int
	Rate        float64    // MB/s of all together, into files
	Slow, Fast  float64    // the least and the most that Rate was in any round
	CPU         float64    // of the server, seconds per GiB
	Idle        float64    // bytes of the server's memory for each, when nothing is open on it
	Loaded      float64    // the same while all upload
	Received    [2]float64 // seconds until a message is acknowledged as received: median, 99 of 100
	Durable     [2]float64 // and as durable
	Jain        float64    // fairness: 1 when all got the same
	Least       float64    // what the slowest got, as part of the mean
	Failed      string
}

// scaleKey is what -rows says of a number of connections.
func scaleKey(connections int) string { return fmt.Sprintf("connections-%d", connections) }

// crowds returns the results-to-be of the numbers of connections that are
// asked for, and that are not there yet.
func (c config) crowds(there []*scaleResult) (results []*scaleResult) {
	for _, n := range c.connections {
		if c.rows.MatchString(scaleKey(n)) && !slices.ContainsFunc(there, func(old *scaleResult) bool { return old.Connections == n }) {
			results = append(results, &scaleResult{Connections: n})
		}
	}
	return results
}

// mostCrowds bounds the rounds of many connections.
const mostCrowds = 3

// scale measures each number of connections, round after round, and keeps the
// round that was the median in throughput.
func (c config) scale(results []*scaleResult) {
	seen := make([][]*scaleResult, len(results))
	for round := range min(c.rounds, mostCrowds) {
		for i, res := range results {
			if res.Failed != "" {
				continue
			}
			r := &scaleResult{Connections: res.Connections}
			err := c.ctx.Err()
			if err == nil {
				err = c.hold(r)
			}
			if err != nil {
				res.Failed = err.Error()
				say("round %d, %d connections: %v", round+1, r.Connections, err)
				continue
			}
			say("round %d, %d connections: %.0f MB/s, %.0f KiB of memory each when idle", round+1, r.Connections, r.Rate, r.Idle/1024)
			seen[i] = append(seen[i], r)
		}
	}
	for i, rounds := range seen {
		if results[i].Failed == "" && len(rounds) > 0 {
			slices.SortFunc(rounds, func(a, b *scaleResult) int { return cmp.Compare(a.Rate, b.Rate) })
			*results[i] = *rounds[len(rounds)/2]
			results[i].Slow, results[i].Fast = rounds[0].Rate, rounds[len(rounds)-1].Rate
		}
	}
}

// hold has r.Connections upload for the time of a window.
func (c config) hold(r *scaleResult) error {
	held, err := rowOf(loadRow)
	if err != nil {
		return err
	}
	t, err := c.begin(held, path{})
	defer t.end()
	if err != nil {
		return err
	}
	none, err := t.idle(r)
	if err != nil {
		return err
	}
	waitQuiet()
	if err := t.tell("send"); err != nil {
		return err
	}
	time.Sleep(c.window / 2) // windows grow, buffers are filled
	if err := t.tell("mark"); err != nil {
		return err
	}
	used, first, err := t.reading()
	if err != nil {
		return err
	}
	time.Sleep(c.window)
	usedBy, last, err := t.reading()
	if err != nil {
		return err
	}
	r.Loaded = float64(resident(t.server.pid())-none) / float64(r.Connections)
	var seen loadReport
	if err := t.client.ask("report", &seen); err != nil {
		return fmt.Errorf("client: %w", err)
	}
	bytes := float64(last.Bytes - first.Bytes)
	r.Rate = bytes / 1e6 / (float64(last.At-first.At) / 1e9)
	r.CPU = (usedBy - used) / (bytes / (1 << 30))
	r.Received, r.Durable = quantiles(seen.Received), quantiles(seen.Durable)
	r.Jain, r.Least = fairness(seen.Bytes)
	return nil
}

// idle opens the connections, and notes what they take when nothing happens.
// It returns what the server took before there were any.
func (t *pair) idle(r *scaleResult) (none int64, err error) {
	if err := t.tell("open 1"); err != nil { // what the first one needs is not of each
		return 0, err
	}
	if _, err := t.ledger("settle"); err != nil {
		return 0, err
	}
	none = resident(t.server.pid())
	if err := t.tell(fmt.Sprintf("open %d", r.Connections)); err != nil {
		return 0, err
	}
	if _, err := t.ledger("settle"); err != nil {
		return 0, err
	}
	if r.Connections > 1 {
		r.Idle = float64(resident(t.server.pid())-none) / float64(r.Connections-1)
	}
	return none, nil
}

// tell has a loader do something.
func (t *pair) tell(what string) error {
	var ok string
	if err := t.client.ask(what, &ok); err != nil {
		return fmt.Errorf("client: %w", err)
	}
	return nil
}

// reading is the server's CPU time so far, and its ledger.
func (t *pair) reading() (used float64, e entry, err error) {
	used = cpu(t.server.pid())
	e, err = t.ledger("")
	return used, e, err
}

// quantiles returns the median and the value that 99 of 100 do not exceed.
func quantiles(sorted []float64) (q [2]float64) {
	if n := len(sorted); n > 0 {
		q = [2]float64{sorted[n/2], sorted[min(n-1, n*99/100)]}
	}
	return q
}

// fairness is Jain's index, (sum x)^2 / (n * sum x^2), and the least value as
// part of the mean.
func fairness(bytes []int64) (jain, least float64) {
	var sum, squares float64
	for _, b := range bytes {
		sum += float64(b)
		squares += float64(b) * float64(b)
	}
	if sum == 0 {
		return 0, 0
	}
	n := float64(len(bytes))
	return sum * sum / (n * squares), float64(slices.Min(bytes)) / (sum / n)
}
