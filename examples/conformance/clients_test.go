package main

import (
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// build returns the path of a program of this repository.
func build(t *testing.T, pkg string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	if out, err := exec.Command("go", "build", "-o", path, pkg).CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return path
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
	wsput := build(t, "../wsput")
	passes(t, []string{wsput, "-state-dir", "{dir}", "{file}", "{url}"}, []string{wsput, "-state-dir", "{dir}", "-", "{url}"},
		"check", "check-mismatch") // the digest in its finish does
}

func TestPythonClientPasses(t *testing.T) {
	python := os.Getenv("WSINGEST_PYTHON")
	if python == "" {
		python = "/usr/bin/python3"
	}
	here, err := filepath.Abs("../python")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("PYTHONPATH", here)
	t.Setenv("PYTHONDONTWRITEBYTECODE", "1")
	passes(t, []string{python, "-m", "wsingest", "--state-dir", "{dir}", "{file}", "{url}"},
		[]string{python, "-m", "wsingest", "--state-dir", "{dir}", "-", "{url}"},
		"check", "check-mismatch")
}

func TestCommandLine(t *testing.T) {
	conformance, wsput := build(t, "."), build(t, "../wsput")
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
