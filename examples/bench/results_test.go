package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Results replace results, and nothing else on the page.
func TestResultsReplaceOnlyWhatIsBetweenTheMarks(t *testing.T) {
	page := []byte("before\n" + beginMark + "old\n" + endMark + "after\n")
	for range 2 { // the marks are there the next time too
		var err error
		if page, err = between(page, []byte("new\n")); err != nil {
			t.Fatal(err)
		}
	}
	if want := "before\n" + beginMark + "new\n" + endMark + "after\n"; string(page) != want {
		t.Fatalf("the page is now\n%s\nwant\n%s", page, want)
	}
}

// A page without a place for them is an error that names the marks.
func TestAPageWithoutMarksIsRefused(t *testing.T) {
	for _, page := range []string{"", beginMark, endMark + beginMark} {
		if _, err := between([]byte(page), nil); err == nil || !strings.Contains(err.Error(), "end of results") {
			t.Errorf("%q: %v", page, err)
		}
	}
}

// The README.md here has a place for results, and a run that measured
// something puts tables and a picture there.
func TestAReportIsWrittenIntoThisREADME(t *testing.T) {
	page, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "README.md"), page, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := writable(dir); err != nil {
		t.Fatal(err)
	}
	r := &report{Machine: "a machine", Rounds: 3, Size: 1 << 30, Loopback: []*result{
		{Key: rawRow, Name: "raw", Samples: []sample{{Rate: 100}, {Rate: 300}, {Rate: 200}}},
		{Key: looseRow, Name: "wsingest", Samples: []sample{{Rate: 210}, {Rate: 190}, {Rate: 150}}},
	}}
	if err := r.write(dir); err != nil {
		t.Fatal(err)
	}
	page, err = os.ReadFile(filepath.Join(dir, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"a machine",
		"| raw | 200 | 100 - 300 | 1.00 |",
		"| wsingest | 190 | 150 - 210 | 0.95 |",
		"| not waiting for the disk, against raw TCP | at least 0.95 | 0.95 | met |",
		"| durable, against raw TCP never synced | at least 0.85 | - | not measured |",
	} {
		if !bytes.Contains(page, []byte(want)) {
			t.Errorf("README.md lacks %q", want)
		}
	}
	if picture, err := os.ReadFile(filepath.Join(dir, "results.svg")); err != nil || !bytes.Contains(picture, []byte("</svg>")) {
		t.Errorf("the picture: %v", err)
	}
}

// The README.md of the project has a place for the summary, which says of each
// row whether it was synced.
func TestTheProjectHasAPlaceForTheSummary(t *testing.T) {
	if err := writable(project); err != nil {
		t.Fatal(err)
	}
	r := &report{Size: 1 << 30, Loopback: []*result{
		{Key: rawRow, Name: "raw", Samples: []sample{{Rate: 100, CPU: 0.5}}},
		{Key: fullRow, Name: "wsingest", Samples: []sample{{Rate: 210, CPU: 0.25}}},
	}}
	for _, want := range []string{"| raw | 100 | 0.50 | no |", "| wsingest | 210 | 0.25 | yes |"} {
		if !bytes.Contains(r.summary(), []byte(want)) {
			t.Errorf("the summary lacks %q:\n%s", want, r.summary())
		}
	}
}
