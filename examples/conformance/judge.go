package main

import (
	"slices"
	"time"
)

// result is what came of a case.
type result struct {
	Name     string    `json:"name"`
	Must     string    `json:"must"`
	Level    Level     `json:"level"`
	Section  string    `json:"section"`
	Status   status    `json:"status"`
	Why      string    `json:"why,omitempty"` // it was not tried
	Findings []Finding `json:"findings,omitempty"`
	Trace    []string  `json:"trace,omitempty"` // of what went over the wire, when something was wrong
}

type status string

const (
	passed   status = "passed"
	failed   status = "failed"
	notTried status = "not tried"
)

// judge ends the case and says what came of it. linger is for clients that live
// on: what they do after their verdict is watched for so long.
func (p *play) judge(linger time.Duration) result {
	p.settle(linger)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.look()
	p.judged = true
	return p.result()
}

// look applies the case's own check, and compares the verdict.
func (p *play) look() {
	switch {
	case p.verdict == nil:
		p.wrong("the client came to no end")
		return
	case p.verdict.Outcome == Skipped:
		p.skip("the client skips it: " + p.verdict.Said)
		return
	case len(p.conns)+len(p.refused) == 0:
		p.wrong("the client never connected; it says %s: %s", p.verdict.Outcome, p.verdict.Said)
		return
	}
	// The first mistake explains what follows.
	if len(p.findings) == 0 && p.c.check != nil {
		p.c.check(p)
	}
	if len(p.findings) > 0 || p.skipped != "" {
		return
	}
	delivered := slices.ContainsFunc(p.uploads, func(u *upload) bool { return u.delivered() })
	switch says := p.verdict.Outcome; {
	case p.c.expect != either && says != p.c.expect:
		p.wrong("the client says %s (%s), expected %s", says, p.verdict.Said, p.c.expect)
	case says == Success && !delivered:
		p.wrong("the client says success, but the server never said done")
	}
}

func (p *play) result() result {
	c := p.c
	r := result{Name: c.Name, Must: c.Must, Level: c.Level, Section: c.Section, Status: passed, Findings: slices.Clone(p.findings)}
	switch {
	case len(p.findings) > 0:
		r.Status, r.Trace = failed, slices.Clone(p.trace)
	case p.skipped != "":
		r.Status, r.Why = notTried, p.skipped
	}
	return r
}
