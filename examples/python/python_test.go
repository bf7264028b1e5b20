package python

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wsingest/wsingest/resume"
)

const (
	exitOK        = 0
	exitResumable = 3
	exitRejected  = 4
	exitChanged   = 5
)

// put is the command line of the client.
func put(t *testing.T, s *server, file string, flags ...string) []string {
	args := append([]string{"-m", "wsingest", "--state-dir", filepath.Join(filepath.Dir(file), "state")}, flags...)
	return append(args, file, s.url())
}

func TestUploadsAndComparesSHA256(t *testing.T) { withEach(t, uploadsAndComparesSHA256) }

func uploadsAndComparesSHA256(t *testing.T, py library) {
	for _, size := range []int{0, 1, 3<<20 + 17} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			s := newServer(t)
			path, data := makeFile(t, size)
			r := py.start(t, nil, put(t, s, path, "--digest")...)
			r.exits(t, exitOK)
			s.mustHave(t, "file.bin", data)
			if want := fmt.Sprintf("%x", sha256.Sum256(data)); !strings.HasPrefix(r.stdout.String(), want) {
				t.Errorf("it printed %q, expected the SHA-256 %s", &r.stdout, want)
			}
			if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "state", "*")); len(left) > 0 {
				t.Errorf("state files are left: %v", left)
			}
		})
	}
}

func TestGoesOnAfterTheLineWasCut(t *testing.T) { withEach(t, goesOnAfterTheLineWasCut) }

func goesOnAfterTheLineWasCut(t *testing.T, py library) {
	s := newServer(t)
	path, data := makeFile(t, 8<<20)
	s.line.rate.Store(8 << 20)
	r := py.start(t, nil, put(t, s, path)...)
	s.line.until(t, 3<<20)
	s.line.cut()
	s.line.until(t, 6<<20)
	s.line.cut()
	r.exits(t, exitOK)
	s.mustHave(t, "file.bin", data)
	if n := s.line.conns.Load(); n < 3 {
		t.Errorf("there were %d connections, expected 3", n)
	}
	if n := s.line.sent.Load(); n > 13<<20 {
		t.Errorf("%d bytes were sent for a file of %d: it began anew", n, len(data))
	}
}

func TestGoesOnInAnotherProcess(t *testing.T) { withEach(t, goesOnInAnotherProcess) }

func goesOnInAnotherProcess(t *testing.T, py library) {
	for name, signal := range map[string]os.Signal{"interrupted": os.Interrupt, "killed": os.Kill} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			path, data := makeFile(t, 12<<20)
			s.line.rate.Store(8 << 20)
			r := py.start(t, nil, put(t, s, path, "--digest")...)
			s.line.until(t, 6<<20)
			r.cmd.Process.Signal(signal)
			if signal == os.Interrupt {
				r.exits(t, exitResumable)
			} else {
				r.exits(t, -1)
			}
			before := s.line.sent.Load()
			s.line.rate.Store(0)
			r = py.start(t, nil, put(t, s, path, "--digest")...)
			r.exits(t, exitOK)
			s.mustHave(t, "file.bin", data)
			if n := s.line.sent.Load() - before; n > 9<<20 {
				t.Errorf("the second process sent %d bytes of %d: it began anew", n, len(data))
			}
			if !strings.Contains(r.stderr.String(), "were there already") {
				t.Errorf("it does not say that it went on: %s", &r.stderr)
			}
		})
	}
}

func TestAChangedFileIsNotMixed(t *testing.T) { withEach(t, aChangedFileIsNotMixed) }

func aChangedFileIsNotMixed(t *testing.T, py library) {
	s := newServer(t)
	path, data := makeFile(t, 12<<20)
	s.line.rate.Store(8 << 20)
	r := py.start(t, nil, put(t, s, path)...)
	s.line.until(t, 6<<20)
	r.cmd.Process.Signal(os.Interrupt)
	r.exits(t, exitResumable)
	s.line.rate.Store(0)

	data[1<<20]++ // where only the checksum of what the server has can tell
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	py.start(t, nil, put(t, s, path)...).exits(t, exitChanged)
	py.start(t, nil, put(t, s, path)...).exits(t, exitOK)
	s.mustHave(t, "file.bin", data)
}

func TestLanes(t *testing.T) { withEach(t, lanes) }

func lanes(t *testing.T, py library) {
	s := newServer(t)
	path, data := makeFile(t, 20<<20+11)
	s.line.rate.Store(4 << 20)
	r := py.start(t, nil, put(t, s, path, "--lanes", "3", "--digest")...)
	s.line.until(t, 6<<20)
	s.line.cut()
	s.line.rate.Store(0)
	r.exits(t, exitOK)
	s.mustHave(t, "file.bin", data)
	if n := s.line.conns.Load(); n < 5 {
		t.Errorf("there were %d connections, expected three lanes, twice", n)
	}
}

func TestAStreamOfUnknownLength(t *testing.T) { withEach(t, aStreamOfUnknownLength) }

func aStreamOfUnknownLength(t *testing.T, py library) {
	s := newServer(t)
	_, data := makeFile(t, 10<<20+5)
	s.line.rate.Store(10 << 20)
	args := []string{"-m", "wsingest", "--name", "stream.bin", "--digest", "--retention", "2", "-", s.url()}
	r := py.start(t, bytes.NewReader(data), args...)
	s.line.until(t, 5<<20)
	s.line.cut()
	r.exits(t, exitOK)
	s.mustHave(t, "stream.bin", data)
}

func TestAStreamGoesOnUnderItsID(t *testing.T) { withEach(t, aStreamGoesOnUnderItsID) }

func aStreamGoesOnUnderItsID(t *testing.T, py library) {
	s := newServer(t)
	_, data := makeFile(t, 10<<20)
	s.line.rate.Store(8 << 20)
	args := []string{"-m", "wsingest", "--name", "stream.bin", "--id=" + string(resume.NewID()), "-", s.url()}
	r := py.start(t, bytes.NewReader(data), args...)
	s.line.until(t, 5<<20)
	r.cmd.Process.Signal(os.Interrupt)
	r.exits(t, exitResumable)
	before := s.line.sent.Load()
	s.line.rate.Store(0)
	py.start(t, bytes.NewReader(data), args...).exits(t, exitOK)
	s.mustHave(t, "stream.bin", data)
	if n := s.line.sent.Load() - before; n > 8<<20 {
		t.Errorf("the second process sent %d bytes of %d: it began anew", n, len(data))
	}
}

func TestWhatTheAppRefusesIsRejected(t *testing.T) { withEach(t, whatTheAppRefusesIsRejected) }

func whatTheAppRefusesIsRejected(t *testing.T, py library) {
	s := newServer(t)
	s.answers(http.StatusUnprocessableEntity)
	path, data := makeFile(t, 1000)
	r := py.start(t, nil, put(t, s, path)...)
	r.exits(t, exitRejected)
	if want := fmt.Sprintf("took %d bytes", len(data)); !strings.Contains(r.stderr.String(), want) {
		t.Errorf("the app's answer is not there: %s", &r.stderr)
	}
}

func TestManyFiles(t *testing.T) { withEach(t, manyFiles) }

func manyFiles(t *testing.T, py library) {
	s := newServer(t)
	dir := t.TempDir()
	args := []string{"-m", "wsingest", "--state-dir", ""}
	for i := range 5 {
		path := filepath.Join(dir, fmt.Sprintf("f%d.txt", i))
		if err := os.WriteFile(path, []byte(path), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, path)
	}
	py.start(t, nil, append(args, s.url())...).exits(t, exitOK)
	for i := range 5 {
		name := fmt.Sprintf("f%d.txt", i)
		s.mustHave(t, name, []byte(filepath.Join(dir, name)))
	}
}

func TestPlainLoop(t *testing.T) { withEach(t, plainLoop) }

func plainLoop(t *testing.T, py library) {
	s := newServer(t)
	path, data := makeFile(t, 8<<20+3)
	s.line.rate.Store(8 << 20)
	r := py.start(t, nil, "plain.py", path, s.url())
	s.line.until(t, 3<<20)
	s.line.cut()
	r.exits(t, exitOK)
	s.mustHave(t, "file.bin", data)
	var done struct{ Type string }
	if err := json.Unmarshal(r.stdout.Bytes(), &done); err != nil || done.Type != "done" {
		t.Errorf("it printed %q", &r.stdout)
	}
}

// Debian's crcmod is not asked for: the checksums of the server are the other
// opinion. This is about the seams between folds, and joining pieces.
func TestCRC32C(t *testing.T) {
	program := `
import random, wsingest_crc32c as c
assert c._extend(0, b"123456789") == 0xE3069283
def slow(crc, data):
    return c._rest(data) ^ c._multiply(crc ^ 0xFFFFFFFF, c._power(len(data))) ^ 0xFFFFFFFF
for n in [0, 1, 4095, 4096, 4097, 12836, 51345, 70001, 262144]:
    data = random.randbytes(n)
    at = random.randrange(n + 1)
    whole = slow(0, data)
    first, second = c._extend(0, data[:at]), c._extend(0, data[at:])
    assert c._extend(first, data[at:]) == whole, n
    assert c.combine(first, second, n - at) == whole, n
`
	library{}.start(t, nil, "-c", program).exits(t, exitOK)
}
