package main

import (
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// programs are those of this repository that the tests need, each built once.
var programs struct {
	dir string
	mu  sync.Mutex
}

// build returns the path of the program in the directory of this name.
func build(t *testing.T, name string) string {
	t.Helper()
	programs.mu.Lock()
	defer programs.mu.Unlock()
	path := filepath.Join(programs.dir, name)
	if _, err := os.Stat(path); err == nil {
		return path
	}
	if out, err := exec.Command("go", "build", "-o", path, "../"+name).CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return path
}

// outside skips what runs in processes that the race detector sees nothing of.
func outside(t *testing.T) {
	t.Helper()
	if raced {
		t.Skip("the client is a process of its own, and the same under the race detector")
	}
}

// passes plays all cases against a command, and expects that the client is found
// fault with in none, and that only the cases in untried do not come up.
func passes(t *testing.T, file, stream []string, untried ...string) {
	t.Helper()
	s := &server{}
	web := httptest.NewServer(s.handler())
	t.Cleanup(web.Close)
	r := newRound(Cases())
	c := &command{file: file, stream: stream, within: 45 * time.Second, abreast: 8, progress: func(result) {},
		base: fmt.Sprintf("ws%s/runs/%d", web.URL[len("http"):], s.add(r))}
	if err := c.all(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	mustPass(t, r.results(), untried...)
}

func mustPass(t *testing.T, all []result, untried ...string) {
	t.Helper()
	may := " " + strings.Join(untried, " ") + " "
	for _, res := range all {
		if res.Status == failed || res.Status == notTried && !strings.Contains(may, " "+res.Name+" ") {
			t.Errorf("%s: %s %s %v\n%s", res.Name, res.Status, res.Why, res.Findings, strings.Join(res.Trace, "\n"))
		}
	}
}

func TestGoClientPasses(t *testing.T) {
	outside(t)
	t.Parallel()
	wsput := build(t, "wsput")
	passes(t, []string{"env", "WSINGEST_TICKET={ticket}", wsput, "-state-dir", "{dir}", "{file}", "{url}"}, []string{wsput, "-state-dir", "{dir}", "-", "{url}"},
		"check", "check-mismatch") // the digest in its finish does
}

func TestPythonClientPasses(t *testing.T) {
	outside(t)
	t.Parallel()
	python := os.Getenv("WSINGEST_PYTHON")
	if python == "" {
		python = "/usr/bin/python3"
	}
	here, err := filepath.Abs("../python")
	if err != nil {
		t.Fatal(err)
	}
	client := []string{"env", "PYTHONPATH=" + here, "PYTHONDONTWRITEBYTECODE=1", "WSINGEST_TICKET={ticket}", python, "-m", "wsingest", "--state-dir", "{dir}"}
	passes(t, slices.Concat(client, []string{"{file}", "{url}"}), slices.Concat(client, []string{"-", "{url}"}), "check", "check-mismatch")
}

func TestCommandLine(t *testing.T) {
	t.Parallel()
	conformance, wsput := build(t, "conformance"), build(t, "wsput")
	t.Run("a client that is right", func(t *testing.T) {
		out, err := exec.Command(conformance, "-run", "^(open|empty)$", "--", wsput, "-state-dir", "{dir}", "{file}", "{url}").CombinedOutput()
		if err != nil || !strings.Contains(string(out), "ok      open") || !strings.Contains(string(out), "2 cases: 2 passed") {
			t.Errorf("%v\n%s", err, out)
		}
	})
	t.Run("one that is wrong", func(t *testing.T) {
		out, _ := exec.Command(conformance, "-run", "^(open|empty)$", "--", "true", "{file}", "{url}").CombinedOutput()
		if !strings.Contains(string(out), "WRONG   open") || !strings.Contains(string(out), "never connected") || !strings.Contains(string(out), "2 wrong") {
			t.Errorf("%s", out)
		}
		if code := exec.Command(conformance, "-run", "^open$", "--", "true", "{url}").Run(); code == nil || code.Error() != "exit status 1" {
			t.Errorf("%v, expected exit status 1", code)
		}
	})
	t.Run("none", func(t *testing.T) {
		if code := exec.Command(conformance, "--", "client").Run(); code == nil || code.Error() != "exit status 2" {
			t.Errorf("%v, expected exit status 2", code)
		}
	})
}
