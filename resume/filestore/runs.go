package filestore

import (
	"slices"

	"github.com/wsingest/wsingest/resume"
)

// mark is a place in what one claim took in: everything before it can be named
// again later, with its checksums, however much was added since.
type mark struct {
	cursor int64
	runs   int           // how many runs there were
	last   resume.Extent // the last of them, as it was then
}

// upTo returns the runs before m. The result shares nothing with runs.
func (m mark) upTo(runs []resume.Extent) []resume.Extent {
	if m.runs == 0 {
		return nil
	}
	out := slices.Clone(runs[:m.runs])
	out[m.runs-1] = m.last
	return out
}

// before returns m, or to if the claim goes back to there and m is not before
// it. A mark at the same place may count a run that was only just begun, and
// that going back takes away.
func (m mark) before(to mark) mark {
	if m.cursor < to.cursor {
		return m
	}
	return to
}
