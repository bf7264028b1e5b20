package resume

import (
	"fmt"
	"math"
	"slices"
	"sort"
)

// Unbounded is the End of a range that reaches as far as the upload does,
// also when its length is not known yet.
const Unbounded = math.MaxInt64

// Range is the bytes from Start up to, not including, End.
type Range struct{ Start, End int64 }

// Everything is the range of a whole upload, whatever its length.
var Everything = Range{0, Unbounded}

// Empty reports whether r holds no byte.
func (r Range) Empty() bool { return r.Start >= r.End }

// Overlaps reports whether r and o have a byte in common.
func (r Range) Overlaps(o Range) bool {
	return max(r.Start, o.Start) < min(r.End, o.End)
}

// Contains reports whether every byte of o is in r.
func (r Range) Contains(o Range) bool { return r.Start <= o.Start && o.End <= r.End }

func (r Range) String() string {
	if r.End == Unbounded {
		return fmt.Sprintf("[%d,)", r.Start)
	}
	return fmt.Sprintf("[%d,%d)", r.Start, r.End)
}

// Extent is a run of bytes that is held, with the CRC-32C of its content.
type Extent struct {
	Range
	CRC32C uint32
}

// Extents is a set of bytes: sorted, disjoint, and merged wherever two touch.
// The zero value is the empty set. An Extents is a value: no method changes
// it, so a snapshot needs no copy.
type Extents []Extent

// Add returns x with e in it. Bytes are never in a set twice: an e that
// overlaps what is there is an error, since one checksum cannot stand for two
// contents.
func (x Extents) Add(e Extent) (Extents, error) {
	if e.Empty() {
		return x, nil
	}
	i := x.after(e.Start)
	if i > 0 && x[i-1].End > e.Start || i < len(x) && x[i].Start < e.End {
		return x, fmt.Errorf("extent %v overlaps bytes already held", e.Range)
	}
	from, to := i, i
	if i > 0 && x[i-1].End == e.Start {
		from--
		e = join(x[from], e)
	}
	if i < len(x) && x[i].Start == e.End {
		e = join(e, x[i])
		to++
	}
	out := make(Extents, 0, len(x)+1-(to-from))
	out = append(out, x[:from]...)
	out = append(out, e)
	return append(out, x[to:]...), nil
}

func join(a, b Extent) Extent {
	return Extent{
		Range:  Range{a.Start, b.End},
		CRC32C: CombineCRC32C(a.CRC32C, b.CRC32C, b.End-b.Start),
	}
}

// after returns the index of the first extent that starts after off.
func (x Extents) after(off int64) int {
	return sort.Search(len(x), func(i int) bool { return x[i].Start > off })
}

// EndFrom returns how far x reaches without a gap from off: off itself when
// the byte at off is missing.
func (x Extents) EndFrom(off int64) int64 {
	if i := x.after(off); i > 0 && x[i-1].End > off {
		return x[i-1].End
	}
	return off
}

// NextFrom returns where the first extent that starts at or after off does,
// and [Unbounded] when there is none.
func (x Extents) NextFrom(off int64) int64 {
	if i := sort.Search(len(x), func(i int) bool { return x[i].Start >= off }); i < len(x) {
		return x[i].Start
	}
	return Unbounded
}

// Size returns how many bytes are in x.
func (x Extents) Size() (n int64) {
	for _, e := range x {
		n += e.End - e.Start
	}
	return n
}

// End returns the end of the last extent, 0 for the empty set.
func (x Extents) End() int64 {
	if len(x) == 0 {
		return 0
	}
	return x[len(x)-1].End
}

// Has reports whether every byte of r is in x.
func (x Extents) Has(r Range) bool { return r.Empty() || x.EndFrom(r.Start) >= r.End }

// Missing returns the parts of r that are not in x, in order. With an
// unbounded r the last of them is unbounded too.
func (x Extents) Missing(r Range) (missing []Range) {
	for off := r.Start; off < r.End; {
		off = x.EndFrom(off)
		end := min(x.NextFrom(off), r.End)
		if off < end {
			missing = append(missing, Range{off, end})
		}
		off = end
	}
	return missing
}

// Equal reports whether x and y hold the same bytes with the same checksums.
func (x Extents) Equal(y Extents) bool { return slices.Equal(x, y) }
