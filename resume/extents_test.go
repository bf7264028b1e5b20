package resume_test

import (
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"github.com/wsingest/wsingest/resume"
)

// naive is a set of bytes as one would write it down without thinking.
type naive struct {
	held    []bool
	content []byte
}

func (n naive) extents() (x resume.Extents) {
	for i := 0; i < len(n.held); {
		if !n.held[i] {
			i++
			continue
		}
		start := i
		for i < len(n.held) && n.held[i] {
			i++
		}
		x = append(x, resume.Extent{
			Range:  resume.Range{Start: int64(start), End: int64(i)},
			CRC32C: resume.UpdateCRC32C(0, n.content[start:i]),
		})
	}
	return x
}

func (n naive) endFrom(off int64) int64 {
	for off < int64(len(n.held)) && n.held[off] {
		off++
	}
	return off
}

func (n naive) nextFrom(off int64) int64 {
	for i := off; i < int64(len(n.held)); i++ {
		if n.held[i] && (i == 0 || !n.held[i-1]) {
			return i
		}
	}
	return resume.Unbounded
}

func TestExtentsAreASetOfBytes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const size = 60
		n := naive{make([]bool, size), rapid.SliceOfN(rapid.Byte(), size, size).Draw(t, "content")}
		var x resume.Extents
		offset := rapid.Int64Range(0, size-1)
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				start := offset.Draw(t, "start")
				end := rapid.Int64Range(start, size).Draw(t, "end")
				before := append(resume.Extents(nil), x...)
				e := resume.Extent{Range: resume.Range{Start: start, End: end}, CRC32C: resume.UpdateCRC32C(0, n.content[start:end])}
				y, err := x.Add(e)
				if !x.Equal(before) {
					t.Fatal("Add changed its receiver")
				}
				overlaps := false
				for i := start; i < end; i++ {
					overlaps = overlaps || n.held[i]
				}
				if overlaps != (err != nil) {
					t.Fatalf("Add(%v) to %v: %v", e.Range, x, err)
				}
				if err == nil {
					for i := start; i < end; i++ {
						n.held[i] = true
					}
				}
				x = y
			},
			"": func(t *rapid.T) { n.check(t, x, offset) },
		})
	})
}

func (n naive) check(t *rapid.T, x resume.Extents, offset *rapid.Generator[int64]) {
	want := n.extents()
	if !x.Equal(want) {
		t.Fatalf("got %v, want %v", x, want)
	}
	size := int64(0)
	for _, held := range n.held {
		if held {
			size++
		}
	}
	if x.Size() != size {
		t.Fatalf("Size of %v: %d", x, x.Size())
	}
	off := offset.Draw(t, "off")
	if got, want := x.EndFrom(off), n.endFrom(off); got != want {
		t.Fatalf("EndFrom(%d) of %v: %d, want %d", off, x, got, want)
	}
	if got, want := x.NextFrom(off), n.nextFrom(off); got != want {
		t.Fatalf("NextFrom(%d) of %v: %d, want %d", off, x, got, want)
	}
	r := resume.Range{Start: off, End: rapid.Int64Range(off, int64(len(n.held))).Draw(t, "to")}
	if got, want := x.Has(r), n.endFrom(off) >= r.End; got != want {
		t.Fatalf("Has(%v) of %v: %v", r, x, got)
	}
	missing := make([]bool, len(n.held))
	for _, m := range x.Missing(r) {
		if m.Empty() || !r.Contains(m) {
			t.Fatalf("Missing(%v) of %v has %v", r, x, m)
		}
		for i := m.Start; i < m.End; i++ {
			missing[i] = true
		}
	}
	for i := r.Start; i < r.End; i++ {
		if missing[i] == n.held[i] {
			t.Fatalf("Missing(%v) of %v: %v", r, x, x.Missing(r))
		}
	}
}

func TestWhatIsMissingOfAnUnknownLengthIsUnbounded(t *testing.T) {
	var x resume.Extents
	x, err := x.Add(resume.Extent{Range: resume.Range{Start: 3, End: 5}})
	if err != nil {
		t.Fatal(err)
	}
	got := x.Missing(resume.Everything)
	want := []resume.Range{{Start: 0, End: 3}, {Start: 5, End: resume.Unbounded}}
	if len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Fatalf("got %v, want %v", got, want)
	}
	if got[1].String() != "[5,)" || x.End() != 5 {
		t.Fatalf("%v, end %d", got[1], x.End())
	}
}

func TestRanges(t *testing.T) {
	for _, c := range []struct {
		a, b               resume.Range
		overlaps, contains bool
	}{
		{resume.Range{Start: 0, End: 5}, resume.Range{Start: 5, End: 9}, false, false},
		{resume.Range{Start: 0, End: 6}, resume.Range{Start: 5, End: 9}, true, false},
		{resume.Everything, resume.Range{Start: 5, End: 9}, true, true},
		{resume.Everything, resume.Range{Start: 5, End: resume.Unbounded}, true, true},
		{resume.Range{Start: 3, End: 3}, resume.Range{Start: 0, End: 9}, false, false},
	} {
		if c.a.Overlaps(c.b) != c.overlaps || c.b.Overlaps(c.a) != c.overlaps || c.a.Contains(c.b) != c.contains {
			t.Errorf("%v and %v: overlaps %v, contains %v", c.a, c.b, c.a.Overlaps(c.b), c.a.Contains(c.b))
		}
	}
}

func TestCRC32CCombines(t *testing.T) {
	if got := resume.UpdateCRC32C(0, []byte("123456789")); got != 0xe3069283 { // the check value of RFC 3720
		t.Fatalf("CRC-32C of 123456789 is %08x", got)
	}
	rapid.Check(t, func(t *rapid.T) {
		p := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "p")
		cut := rapid.IntRange(0, len(p)).Draw(t, "cut")
		a, b := resume.UpdateCRC32C(0, p[:cut]), resume.UpdateCRC32C(0, p[cut:])
		if got, want := resume.CombineCRC32C(a, b, int64(len(p)-cut)), resume.UpdateCRC32C(0, p); got != want {
			t.Fatalf("combined %08x, want %08x", got, want)
		}
	})
}

// Lengths no test can write out: combining is associative, so one long step
// equals many.
func TestCRC32CCombinesOverTerabytes(t *testing.T) {
	a, b := resume.UpdateCRC32C(0, []byte("front")), uint32(0)
	whole := resume.CombineCRC32C(a, b, 1<<42)
	steps := a
	for range 1 << 10 {
		steps = resume.CombineCRC32C(steps, 0, 1<<32)
	}
	if whole != steps {
		t.Fatalf("%08x in one step, %08x in a thousand", whole, steps)
	}
}

func TestIDs(t *testing.T) {
	seen := map[resume.ID]bool{}
	for range 1000 {
		id := resume.NewID()
		if parsed, err := resume.ParseID(string(id)); err != nil || parsed != id || seen[id] {
			t.Fatalf("NewID gave %q: %v, seen before: %v", id, err, seen[id])
		}
		seen[id] = true
	}
}

func BenchmarkExtentsAdd(b *testing.B) {
	var x resume.Extents
	for i := range int64(resume.MaxExtents - 1) {
		x, _ = x.Add(resume.Extent{Range: resume.Range{Start: 3 * i, End: 3*i + 1}})
	}
	b.ReportAllocs()
	for b.Loop() {
		at := 3 * rand.Int64N(resume.MaxExtents-2)
		if _, err := x.Add(resume.Extent{Range: resume.Range{Start: at + 1, End: at + 3}}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCombineCRC32C(b *testing.B) {
	crc := uint32(0x12345678)
	for b.Loop() {
		crc = resume.CombineCRC32C(crc, 0x9abcdef0, 1<<30+12345)
	}
}
