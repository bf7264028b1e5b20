package s3store

import "github.com/wsingest/wsingest/resume"

// Bounds of S3: https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
const (
	minPart  = 5 << 20
	maxPart  = 5 << 30
	maxParts = 10_000
)

// plan lays an upload out in parts. It is fixed when the upload is created, and
// kept in its record, so that every node cuts at the same places.
type plan struct {
	size int64
	// growing: the length was not known. The size doubles every thousand parts,
	// so that ten thousand hold 1023 thousand times the first: 5.8 TiB from the
	// least, 6 MiB.
	growing bool
}

const growEvery = maxParts / 10

func newPlan(length, least int64) plan {
	if length < 0 {
		return plan{size: min(max(least, 6<<20), maxPart>>9), growing: true}
	}
	size := least
	if need := (length + maxParts - 1) / maxParts; need > size {
		const mib = 1 << 20
		size = (need + mib - 1) / mib * mib
	}
	return plan{size: size}
}

// part returns the index, from 0 on, of the part that off is in, and its range.
func (p plan) part(off int64) (int, resume.Range) {
	if !p.growing {
		i := off / p.size
		return int(i), resume.Range{Start: i * p.size, End: (i + 1) * p.size}
	}
	start, size, first := int64(0), p.size, 0
	for first+growEvery < maxParts && off >= start+growEvery*size {
		start += growEvery * size
		size *= 2
		first += growEvery
	}
	i := (off - start) / size
	return first + int(i), resume.Range{Start: start + i*size, End: start + (i+1)*size}
}

// at returns the range of part i.
func (p plan) at(i int) resume.Range {
	if !p.growing {
		return resume.Range{Start: int64(i) * p.size, End: int64(i+1) * p.size}
	}
	start, size := int64(0), p.size
	for i >= growEvery && size < p.size<<9 {
		start += growEvery * size
		size *= 2
		i -= growEvery
	}
	start += int64(i) * size
	return resume.Range{Start: start, End: start + size}
}

// cut is at within an upload of a length; negative is not known yet.
func (p plan) cut(i int, length int64) resume.Range {
	r := p.at(i)
	if length >= 0 {
		r.End = min(r.End, length)
	}
	return r
}
