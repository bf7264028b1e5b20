package s3store

import (
	"cmp"
	"slices"

	"github.com/wsingest/wsingest/resume"
)

// merge returns the union of disjoint lists of extents.
func merge(lists ...[]resume.Extent) resume.Extents {
	var all []resume.Extent
	for _, l := range lists {
		all = append(all, l...)
	}
	slices.SortFunc(all, func(a, b resume.Extent) int { return cmp.Compare(a.Start, b.Start) })
	var out resume.Extents
	for _, e := range all {
		if n := len(out); n > 0 && out[n-1].End == e.Start {
			out[n-1].CRC32C = resume.CombineCRC32C(out[n-1].CRC32C, e.CRC32C, e.End-e.Start)
			out[n-1].End = e.End
			continue
		}
		out = append(out, e)
	}
	return out
}
