package resume_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/wsingest/wsingest/resume"
)

func TestParseID(t *testing.T) {
	for s, ok := range map[string]bool{
		strings.Repeat("a", 21):                   false,
		strings.Repeat("a", 22):                   true,
		strings.Repeat("a", 64):                   true,
		strings.Repeat("a", 65):                   false,
		"ABCxyz019_-ABCxyz019_-":                  true,
		"":                                        false,
		strings.Repeat("a", 21) + "/":             false,
		strings.Repeat("a", 21) + ".":             false,
		strings.Repeat("a", 21) + "\x00":          false,
		strings.Repeat("a", 21) + " ":             false,
		strings.Repeat("é", 11):                   false,
		"../../../../../../etc/passwd":            false,
		"3f2504e0-4f89-11d3-9a0c-0305e82c3301":    true, // a UUID
		strings.Repeat("a", 20) + "\u202e" + "bc": false,
	} {
		id, err := resume.ParseID(s)
		if ok != (err == nil) || ok && string(id) != s || !ok && !errors.Is(err, resume.ErrBadID) {
			t.Errorf("ParseID(%q) = %q, %v", s, id, err)
		}
	}
}

func TestIncompleteErrorNamesTheFirstGaps(t *testing.T) {
	var missing []resume.Range
	for i := range int64(7) {
		missing = append(missing, resume.Range{Start: 10 * i, End: 10*i + 1})
	}
	err := error(&resume.IncompleteError{Missing: missing})
	if !errors.Is(err, resume.ErrIncomplete) || errors.Is(err, resume.ErrComplete) {
		t.Fatal("it is not what it says")
	}
	if want := "upload is incomplete: missing [0,1) [10,11) [20,21) [30,31) and 3 more"; err.Error() != want {
		t.Fatalf("got %q, want %q", err, want)
	}
}
