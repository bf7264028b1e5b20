package filestore_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/wsingest/wsingest/resume"
	"github.com/wsingest/wsingest/resume/filestore"
)

func newStore(t testing.TB, dir string) *filestore.Store {
	t.Helper()
	s, err := filestore.New(dir, filestore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestADirectoryBelongsToOneStore(t *testing.T) {
	dir := t.TempDir()
	s := newStore(t, dir)
	_, err := filestore.New(dir, filestore.Options{})
	if !errors.Is(err, filestore.ErrInUse) || !strings.Contains(err.Error(), fmt.Sprintf("process %d", os.Getpid())) {
		t.Fatalf("second New: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	newStore(t, dir)
}

func TestADirectoryIsMadeForTheUserAlone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	s := newStore(t, dir)
	id := resume.NewID()
	c, err := s.Open(t.Context(), resume.OpenOptions{Info: resume.Info{ID: id, Length: 1 << 20}})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write(make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	if err := c.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	part := filepath.Join(dir, string(id)+".part")
	if info, err := os.Stat(part); err != nil || info.Size() != 1<<20 {
		t.Fatalf("the part file: %v, %v", info, err)
	}
	if runtime.GOOS == "windows" {
		return
	}
	for path, want := range map[string]fs.FileMode{
		dir: 0o700, filepath.Dir(dir): 0o700, part: 0o600, filepath.Join(dir, string(id)+".state"): 0o600,
	} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v, want %v", path, info.Mode(), err, want)
		}
	}
}

func TestWhatIsNoDirectoryIsRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{file, filepath.Join(file, "below"), "/dev/null"} {
		s, err := filestore.New(dir, filestore.Options{})
		if err == nil {
			s.Close()
			t.Errorf("%s was taken", dir)
		} else if !strings.Contains(err.Error(), "file") && !strings.Contains(err.Error(), "directory") {
			t.Errorf("the error does not say what is wrong: %v", err)
		}
	}
}

// TestOffsetSurvivesKill9 kills a process that uploads, again and again, and
// goes on from what it left.
func TestOffsetSurvivesKill9(t *testing.T) {
	dir, id := t.TempDir(), resume.ID("kill-9-kill-9-kill-9-kill-9")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	acked := int64(0)
	for round := range 4 {
		child := exec.Command(self, "-test.run=^TestChildThatUploads$")
		child.Env = append(os.Environ(), "FILESTORE_CHILD="+dir, "FILESTORE_ID="+string(id))
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		// Each line is an offset that was durable when it was written.
		for lines := 0; lines < 3+round; lines++ {
			var off int64
			if _, err := fmt.Fscanln(out, &off); err != nil {
				break
			}
			acked = max(acked, off)
		}
		if err := child.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = child.Wait() // it says that it was killed

		s := newStore(t, dir)
		st, err := s.Stat(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if end := st.Durable.EndFrom(0); end < acked {
			t.Fatalf("durable to %d, it was %d before the kill", end, acked)
		}
		b, err := os.ReadFile(filepath.Join(dir, string(id)+".part"))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range st.Durable {
			if resume.UpdateCRC32C(0, b[e.Start:e.End]) != e.CRC32C || !isPattern(b[e.Start:e.End], e.Start) {
				t.Fatalf("the bytes of %v are not what was sent", e.Range)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if acked == 0 {
		t.Fatal("no offset was ever reported")
	}
}

const childSize = 1 << 30

// TestChildThatUploads is the process that is killed.
func TestChildThatUploads(t *testing.T) {
	dir := os.Getenv("FILESTORE_CHILD")
	if dir == "" {
		return // not the child
	}
	s, err := filestore.New(dir, filestore.Options{SyncInterval: 5 * time.Millisecond, SyncBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.Open(context.Background(), resume.OpenOptions{
		Info: resume.Info{ID: resume.ID(os.Getenv("FILESTORE_ID")), Length: resume.UnknownLength, WantSHA256: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	told := int64(0)
	for p := make([]byte, 10_000); c.Cursor() < childSize; {
		pattern(p, c.Cursor())
		if _, err := c.Write(p); err != nil {
			t.Fatal(err)
		}
		if d := c.Durable(); d > told {
			told = d
			fmt.Println(d)
		}
	}
}

// pattern fills p with what belongs at off.
func pattern(p []byte, off int64) {
	for i := range p {
		at := off + int64(i)
		p[i] = byte(at ^ at>>8 ^ at>>16)
	}
}

func isPattern(p []byte, off int64) bool {
	want := make([]byte, len(p))
	pattern(want, off)
	return string(want) == string(p)
}
