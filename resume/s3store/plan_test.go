package s3store

import (
	"testing"

	"github.com/wsingest/wsingest/resume"
)

// TestTenThousandPartsAlwaysSuffice: also for the 5 TiB that S3 takes, and
// whether the length is known or not.
func TestTenThousandPartsAlwaysSuffice(t *testing.T) {
	const tib = 1 << 40
	for _, least := range []int64{minPart, 8 << 20, 64 << 20} {
		for _, length := range []int64{0, 1, least, least + 1, 78 << 30, 100 << 30, 5 * tib, largest} {
			p := newPlan(length, least)
			if p.size < least || p.size > maxPart {
				t.Errorf("length %d: parts of %d bytes", length, p.size)
			}
			if length == 0 {
				continue
			}
			if last, r := p.part(length - 1); last >= maxParts || !r.Contains(resume.Range{Start: length - 1, End: length}) {
				t.Errorf("length %d in parts of %d: the last byte is in part %d, %v", length, p.size, last, r)
			}
		}
		if last, _ := newPlan(resume.UnknownLength, least).part(5*tib - 1); last >= maxParts {
			t.Errorf("unknown length from %d: 5 TiB need %d parts", least, last+1)
		}
	}
	if p := newPlan(5*tib, 8<<20); p.size > 600<<20 {
		t.Errorf("5 TiB go up in parts of %d bytes", p.size)
	}
}

// TestPartsLieSideBySide: part and at are each other's inverse, and leave no gap.
func TestPartsLieSideBySide(t *testing.T) {
	for _, p := range []plan{{size: 8 << 20}, {size: 8 << 20, growing: true}, {size: minPart, growing: true}} {
		end := int64(0)
		for i := range maxParts {
			r := p.at(i)
			if r.Start != end || r.Empty() || r.End-r.Start > maxPart {
				t.Fatalf("%+v: part %d is %v, the one before ends at %d", p, i, r, end)
			}
			for _, off := range []int64{r.Start, r.End - 1} {
				if k, in := p.part(off); k != i || in != r {
					t.Fatalf("%+v: byte %d is in part %d %v, expected %d %v", p, off, k, in, i, r)
				}
			}
			end = r.End
		}
	}
}
