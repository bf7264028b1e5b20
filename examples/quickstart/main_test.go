package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// quickstart is the built program.
var quickstart string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "quickstart-")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		quickstart = filepath.Join(dir, "quickstart")
		if out, err := exec.Command("go", "build", "-o", quickstart, ".").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
			return 1
		}
		defer chrome.Close()
		return m.Run()
	}())
}

// program is a quickstart that runs.
type program struct {
	t    *testing.T
	url  string // of the page, with a slash at the end
	dir  string
	cmd  *exec.Cmd
	logs logs
}

// start runs quickstart on a free port, on dir, until the test ends.
func start(t *testing.T, dir string, flags ...string) *program {
	t.Helper()
	p := &program{t: t, dir: dir}
	p.cmd = exec.Command(quickstart, append([]string{"-addr", "127.0.0.1:0", "-dir", dir, "-debug"}, flags...)...)
	p.cmd.Stderr = &p.logs
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		p.cmd.Wait()
		if t.Failed() {
			t.Logf("log of quickstart:\n%s", p.logs.tail())
		}
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("it did not say where it serves: %v\n%s", err, p.logs.tail())
	}
	p.url = line[strings.Index(line, "http://") : len(line)-1]
	return p
}

func (p *program) addr() string { return strings.Trim(strings.TrimPrefix(p.url, "http://"), "/") }

// stop sends SIGTERM and expects the program to end well, and soon.
func (p *program) stop() {
	p.t.Helper()
	p.cmd.Process.Signal(syscall.SIGTERM)
	p.ended()
}

// ended waits until the program has ended, well.
func (p *program) ended() {
	p.t.Helper()
	began := time.Now()
	if err := p.cmd.Wait(); err != nil {
		p.t.Errorf("after SIGTERM: %v", err)
	}
	if took := time.Since(began); took > stopWithin/2 {
		p.t.Errorf("stopping took %v", took)
	}
}

// published returns the path of a finished file.
func (p *program) published(name string) string { return filepath.Join(p.dir, "files", name) }

// logs collects what a program writes to stderr, one JSON object a line.
type logs struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

// tail returns the last of the log that is not about acks.
func (l *logs) tail() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []byte
	for line := range bytes.Lines(l.buf.Bytes()) {
		if !bytes.Contains(line, []byte(`"msg":"ack"`)) {
			out = append(out, line...)
		}
	}
	return string(out[max(0, len(out)-8<<10):])
}

// entry is what the tests look for in a line of the log.
type entry struct {
	Msg    string
	Kind   string
	Offset int64
	Bytes  int64
}

// find returns the lines that match, in order.
func (l *logs) find(match func(entry) bool) (found []entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range bytes.Lines(l.buf.Bytes()) {
		var e entry
		if json.Unmarshal(line, &e) == nil && match(e) {
			found = append(found, e)
		}
	}
	return found
}

// patience is how long a test waits for what should happen soon, on a machine
// that has much else to do.
const patience = time.Minute

// eventually waits until ok.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited too long until %s", what)
		}
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	running := start(t, t.TempDir())

	for name, c := range map[string]struct {
		flags []string
		exit  int
		want  string
	}{
		"port taken":            {[]string{"-addr", taken.Addr().String()}, 1, "choose another address with -addr"},
		"directory is a file":   {[]string{"-dir", file}, 1, "choose another directory with -dir"},
		"directory in use":      {[]string{"-addr", "127.0.0.1:0", "-dir", running.dir}, 1, "in use by another quickstart"},
		"size is no size":       {[]string{"-max-size", "big"}, 2, "expected a size such as 500MB"},
		"argument not expected": {[]string{"uploads"}, 2, "unexpected argument"},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.Command(quickstart, c.flags...)
			cmd.Dir = t.TempDir()
			out, _ := cmd.CombinedOutput()
			if code := cmd.ProcessState.ExitCode(); code != c.exit || !strings.Contains(string(out), c.want) {
				t.Errorf("exit code %d, expected %d, and %q in:\n%s", code, c.exit, c.want, out)
			}
		})
	}
}
