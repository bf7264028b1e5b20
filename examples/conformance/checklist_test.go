package main

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

// The checklist of README.md is that of the server, row for row.
func TestChecklistIsTheCases(t *testing.T) {
	page, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	var rows, want []string
	_, list, _ := strings.Cut(string(page), "## Checklist")
	for line := range strings.Lines(list) {
		if strings.HasPrefix(line, "| `") {
			rows = append(rows, strings.TrimSpace(line))
		}
	}
	for _, c := range Cases() {
		want = append(want, c.row())
	}
	for i := range max(len(rows), len(want)) {
		if i >= len(rows) || i >= len(want) || rows[i] != want[i] {
			t.Fatalf("row %d differs: conformance -list prints the table\npage:  %q\ncases: %q", i+1, rows[min(i, len(rows)):min(i+1, len(rows))], want[min(i, len(want)):min(i+1, len(want))])
		}
	}
}

func TestEachCaseHasANameOfItsOwnAndIsBroken(t *testing.T) {
	var broken []string
	for _, names := range faults {
		broken = append(broken, strings.Fields(names)...)
	}
	seen := map[string]bool{}
	for _, c := range Cases() {
		if seen[c.Name] {
			t.Errorf("two cases are called %s", c.Name)
		}
		seen[c.Name] = true
		if !slices.Contains(broken, c.Name) {
			t.Errorf("no client of the tests fails %s", c.Name)
		}
	}
	for _, names := range unsure {
		broken = append(broken, strings.Fields(names)...)
	}
	for _, name := range slices.Concat(broken, long, breaking) {
		if !seen[name] {
			t.Errorf("no case is called %s", name)
		}
	}
	for _, fault := range slices.Concat(few, slices.Collect(maps.Keys(timed)), slices.Collect(maps.Keys(unsure)), slices.Collect(maps.Keys(unframed))) {
		if faults[fault] == "" {
			t.Errorf("no fault is called %q", fault)
		}
	}
}
