package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
)

// report prints what came of cases.
type report struct {
	out     io.Writer
	strict  bool // what is only recommended counts, too
	verbose bool
	mu      sync.Mutex
}

// one prints a case.
func (r *report) one(res result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case res.Status == passed:
		fmt.Fprintf(r.out, "ok      %s\n", res.Name)
		return
	case res.Status == notTried:
		fmt.Fprintf(r.out, "-       %s: not tried: %s\n", res.Name, firstLine(res.Why))
		return
	case r.fails(res):
		fmt.Fprintf(r.out, "WRONG   %s: %s\n", res.Name, res.Must)
	default:
		fmt.Fprintf(r.out, "should  %s: %s\n", res.Name, res.Must)
	}
	for _, f := range res.Findings {
		fmt.Fprintf(r.out, "          %s (%s): %s\n", f.Rule, f.Level, f.Text)
	}
	if r.verbose {
		for _, line := range res.Trace {
			fmt.Fprintf(r.out, "          | %s\n", line)
		}
	}
}

// fails reports whether a case counts against the client.
func (r *report) fails(res result) bool {
	for _, f := range res.Findings {
		if r.strict || f.Level == Must {
			return true
		}
	}
	return false
}

// sum prints how many cases went how, and returns the exit code.
func (r *report) sum(all []result) int {
	count := map[string]int{}
	for _, res := range all {
		switch {
		case r.fails(res):
			count["wrong"]++
		case res.Status == failed:
			count["should"]++
		default:
			count[string(res.Status)]++
		}
	}
	fmt.Fprintf(r.out, "%d cases: %d passed, %d wrong, %d not as recommended, %d not tried\n",
		len(all), count[string(passed)], count["wrong"], count["should"], count[string(notTried)])
	if count["wrong"] > 0 {
		return exitWrong
	}
	return exitOK
}

// checklist prints the cases as the table in README.md.
func checklist(out io.Writer) {
	fmt.Fprintln(out, "| case | what must hold | | section |\n|---|---|---|---|")
	for _, c := range Cases() {
		fmt.Fprintln(out, c.row())
	}
}

func (c *Case) row() string {
	return fmt.Sprintf("| `%s` | %s | %s | %s |", c.Name, c.Must, c.Level, c.Section)
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
