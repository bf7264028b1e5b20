package strictfs

import (
	"bytes"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/wsingest/wsingest/resume/filestore/internal/vfs"
)

func create(t *testing.T, f *FS, name, text string) vfs.File {
	t.Helper()
	h, err := f.Open(name, os.O_RDWR|os.O_CREATE)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.WriteAt([]byte(text), 0); err != nil {
		t.Fatal(err)
	}
	return h
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// outcomes cuts the power many times and counts what is found.
func outcomes(f *FS, look func(after *FS) string) map[string]int {
	seen := map[string]int{}
	for seed := range uint64(300) {
		seen[look(f.Cut(rand.New(rand.NewPCG(seed, 0))))]++
	}
	return seen
}

func only(t *testing.T, seen map[string]int, want ...string) {
	t.Helper()
	for _, w := range want {
		if seen[w] == 0 {
			t.Errorf("never found %q, but %v", w, seen)
		}
		delete(seen, w)
	}
	if len(seen) > 0 {
		t.Errorf("found also %v", seen)
	}
}

func text(name string) func(*FS) string {
	return func(f *FS) string {
		b, err := f.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			return "none"
		}
		return string(b)
	}
}

func TestForgetsWhatWasNotSynced(t *testing.T) {
	f := New()
	h := create(t, f, "/a", "abc")
	only(t, outcomes(f, text("/a")), "none", "", "abc", "\x00\x00\x00")
	must(t, f.SyncDir("/"))
	only(t, outcomes(f, text("/a")), "", "abc", "\x00\x00\x00")
	must(t, h.Sync())
	only(t, outcomes(f, text("/a")), "abc")
	_, err := h.WriteAt([]byte("XY"), 1)
	must(t, err)
	only(t, outcomes(f, text("/a")), "abc", "aXY")
	must(t, h.Truncate(1))
	must(t, h.Sync())
	only(t, outcomes(f, text("/a")), "a")
}

func TestTearsAtPages(t *testing.T) {
	f := New()
	h := create(t, f, "/a", string(bytes.Repeat([]byte("o"), 3*pageSize)))
	must(t, h.Sync())
	must(t, f.SyncDir("/"))
	_, err := h.WriteAt(bytes.Repeat([]byte("n"), 2*pageSize), pageSize/2)
	must(t, err)
	seen := outcomes(f, func(after *FS) string {
		b, _ := after.ReadFile("/a")
		return string([]byte{b[0], b[pageSize/2], b[pageSize-1], b[pageSize], b[2*pageSize], b[3*pageSize-1]})
	})
	only(t, seen, "oooooo", "onnooo", "onnnoo", "onnono", "onnnno", "ooonoo", "ooonno", "oooono")
}

func TestNamesAreKeptInOrder(t *testing.T) {
	f := New()
	must(t, create(t, f, "/a", "1").Sync())
	must(t, f.Rename("/a", "/b"))
	must(t, f.Link("/b", "/c"))
	must(t, f.Remove("/b"))
	names := func(after *FS) (s string) {
		for _, name := range []string{"/a", "/b", "/c"} {
			if _, err := after.Stat(name); err == nil {
				s += name
			}
		}
		return s
	}
	// Removing /b is kept only with the renaming that made it.
	only(t, outcomes(f, names), "", "/a", "/b", "/c", "/a/c", "/b/c")
	must(t, f.SyncDir("/"))
	only(t, outcomes(f, names), "/c")
}

func TestAKillLosesNothingYet(t *testing.T) {
	f := New()
	create(t, f, "/a", "abc")
	k := f.Kill()
	if got := text("/a")(k); got != "abc" {
		t.Fatalf("found %q", got)
	}
	only(t, outcomes(k, text("/a")), "none", "", "abc", "\x00\x00\x00")
}

func TestAFailedSyncLosesItsBytes(t *testing.T) {
	f := New()
	h := create(t, f, "/a", "abc")
	must(t, h.Sync())
	must(t, f.SyncDir("/"))
	_, err := h.WriteAt([]byte("XYZ"), 0)
	must(t, err)
	f.Fail = func(op, _ string) error { return map[string]error{"sync": fs.ErrInvalid}[op] }
	if err := h.Sync(); !errors.Is(err, fs.ErrInvalid) {
		t.Fatal(err)
	}
	f.Fail = nil
	must(t, h.Sync()) // says yes, and syncs nothing
	if got := text("/a")(f); got != "XYZ" {
		t.Fatalf("programs see %q", got)
	}
	only(t, outcomes(f, text("/a")), "abc")
}

func TestALockIsHeldUntilItsFileIsClosed(t *testing.T) {
	f := New()
	h, err := f.Lock("/lock")
	must(t, err)
	if _, err := f.Lock("/lock"); !errors.Is(err, vfs.ErrLocked) {
		t.Fatal(err)
	}
	must(t, h.Close())
	_, err = f.Lock("/lock")
	must(t, err)
}
