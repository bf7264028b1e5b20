// Package rules is what every store holds uploads to, whatever it keeps them
// in. It knows uploads by what [resume] says of them only, and is tested by
// package storetest, with each store.
package rules

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"github.com/wsingest/wsingest/resume"
)

// Union returns the extents of all lists, which do not overlap, as one set.
func Union(lists ...[]resume.Extent) resume.Extents {
	n := 0
	for _, l := range lists {
		n += len(l)
	}
	if n == 0 {
		return nil
	}
	all := make(resume.Extents, 0, n)
	for _, l := range lists {
		all = append(all, l...)
	}
	slices.SortFunc(all, func(a, b resume.Extent) int { return cmp.Compare(a.Start, b.Start) })
	out := all[:0]
	for _, e := range all {
		if e.Empty() {
			continue
		}
		if k := len(out) - 1; k >= 0 && out[k].End == e.Start {
			out[k].CRC32C = resume.CombineCRC32C(out[k].CRC32C, e.CRC32C, e.End-e.Start)
			out[k].End = e.End
			continue
		}
		out = append(out, e)
	}
	return out
}

// Admit checks an opening against the upload as it is. received is called where
// the length becomes known with it.
func Admit(known resume.Info, received func() resume.Extents, o resume.OpenOptions) error {
	if known.Owner != o.Info.Owner {
		return resume.ErrNotFound
	}
	length, l := known.Length, o.Info.Length
	switch {
	case l >= 0 && length >= 0 && l != length:
		return fmt.Errorf("%w: %d, known is %d", resume.ErrLength, l, length)
	case l >= 0 && length < 0:
		if err := Ends(received(), l); err != nil {
			return err
		}
		length = l
	}
	return InRange(o.Range, length)
}

// Ends checks that nothing was received behind length.
func Ends(received resume.Extents, length int64) error {
	if end := received.End(); end > length {
		return fmt.Errorf("%w: %d, but %d bytes were received", resume.ErrLength, length, end)
	}
	return nil
}

// InRange checks a range against the length, if that is known.
func InRange(r resume.Range, length int64) error {
	if length >= 0 && (r.Start > length || r.End != resume.Unbounded && r.End > length) {
		return fmt.Errorf("%w: range %v of an upload of %d bytes", resume.ErrLength, r, length)
	}
	return nil
}

// Fits checks that n bytes at the cursor reach neither past the range of their
// claim nor past the length, if that is known.
func Fits(n int, cursor int64, r resume.Range, length int64) error {
	limit := r.End
	if length >= 0 {
		limit = min(limit, length)
	}
	if int64(n) > limit-cursor {
		return fmt.Errorf("%w: %d bytes at %d reach past %d", resume.ErrLength, n, cursor, limit)
	}
	return nil
}

// Whole says how long an upload is that a Finish says is asked bytes long, and
// what of it is missing and worth waiting for. What neither is there nor can
// come any more, by way of coming, is an error.
func Whole(received resume.Extents, known, asked int64, coming []resume.Range) (length int64, missing []resume.Range, err error) {
	length = asked
	switch {
	case asked < resume.UnknownLength || known >= 0 && asked >= 0 && asked != known:
		return 0, nil, fmt.Errorf("%w: %d, known is %d", resume.ErrLength, asked, known)
	case asked >= 0:
		if err := Ends(received, asked); err != nil {
			return 0, nil, err
		}
	case known >= 0:
		length = known
	default:
		length = received.End()
	}
	missing = received.Missing(resume.Range{End: length})
	for _, r := range missing {
		if !covers(coming, r) {
			return 0, nil, &resume.IncompleteError{Missing: missing}
		}
	}
	return length, missing, nil
}

func covers(ranges []resume.Range, r resume.Range) bool {
	for off := r.Start; off < r.End; {
		end := off
		for _, c := range ranges {
			if c.Start <= off {
				end = max(end, c.End)
			}
		}
		if end == off {
			return false
		}
		off = end
	}
	return true
}

// Again checks a Finish of an upload that is complete, but for its SHA-256.
func Again(st resume.State, o resume.FinishOptions) error {
	if o.Length >= 0 && o.Length != st.Length {
		return fmt.Errorf("%w: %d, known is %d", resume.ErrLength, o.Length, st.Length)
	}
	if crc, ok := st.CRC32C(); ok {
		return SameCRC32C(crc, o.CRC32C)
	}
	return nil
}

// SameCRC32C compares a checksum with the one expected, if any is.
func SameCRC32C(crc uint32, expected *uint32) error {
	if expected != nil && crc != *expected {
		return fmt.Errorf("%w: CRC-32C is %08x, expected %08x", resume.ErrDigestMismatch, crc, *expected)
	}
	return nil
}

// SameSHA256 compares a digest with the one expected, if any is.
func SameSHA256(sum, expected []byte) error {
	if expected != nil && !bytes.Equal(sum, expected) {
		return fmt.Errorf("%w: SHA-256 is %x, expected %x", resume.ErrDigestMismatch, sum, expected)
	}
	return nil
}
