package situations

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// interpreter is the Python that sees the websockets library to test with:
// Debian's, unless the environment names another.
func interpreter() string {
	if p := os.Getenv("WSINGEST_PYTHON"); p != "" {
		return p
	}
	return "/usr/bin/python3"
}

// pythonLibrary returns what is installed, such as "websockets 10.4 legacy".
func pythonLibrary(t testing.TB) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	out, err := python(ctx, "library.py").Output()
	if err != nil {
		t.Fatalf("%s has no websockets library to test with (%v).\nInstall it: apt-get install python3-websockets; or name another interpreter that has it in WSINGEST_PYTHON.", interpreter(), err)
	}
	version, module, _ := strings.Cut(strings.TrimSpace(string(out)), " ")
	for _, kind := range []string{"legacy", "asyncio"} {
		if strings.Contains(module, kind) {
			return "websockets " + version + " " + kind
		}
	}
	return "websockets " + version
}

// python runs a program of testdata.
func python(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, interpreter(), append([]string{filepath.Join("testdata", program)}, args...)...)
	cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1")
	cmd.WaitDelay = time.Second
	return cmd
}

func uploadWithPythonLoop(ctx context.Context, address string, l load) (result, error) {
	return runPython(ctx, "plain.py", plainURL(address, l.size), l)
}

func uploadWithPythonFull(ctx context.Context, address string, l load) (result, error) {
	return runPython(ctx, "full.py", "ws://"+address+"/upload/", l)
}

// uploadWithPlainPy and uploadWithWsingestPy upload with the clients of
// examples/python, which take files.
func uploadWithPlainPy(ctx context.Context, address string, l load) (result, error) {
	return runPython(ctx, "shipped_plain.py", "ws://"+address+"/upload/", l)
}

func uploadWithWsingestPy(ctx context.Context, address string, l load) (result, error) {
	return runPython(ctx, "shipped_full.py", "ws://"+address+"/upload/", l)
}

func runPython(ctx context.Context, program, url string, l load) (r result, err error) {
	args := []string{
		url,
		"--size", strconv.FormatInt(l.size, 10), "--chunk", strconv.Itoa(l.chunk),
		"--ping", seconds(l.ping), "--rate", strconv.FormatInt(l.rate, 10), "--burn", seconds(l.burn),
		"--tries", strconv.Itoa(l.tries), "--file", l.file,
	}
	var stdout, stderr bytes.Buffer
	if l.log != nil {
		args = append(args, "--debug")
	}
	cmd := python(ctx, program, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if l.log != nil {
		cmd.Stderr = l.log
	}
	err = cmd.Run()
	if ctx.Err() != nil {
		return result{hung: true}, nil
	}
	if err != nil {
		return r, fmt.Errorf("%s: %w\n%s", program, err, &stderr)
	}
	return parseReport(stdout.Bytes())
}

func seconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', -1, 64) }

// parseReport reads what library.py's Report prints.
func parseReport(line []byte) (r result, err error) {
	var report struct {
		Deaths []struct {
			Code       int
			By, Detail string
			Seconds    float64
		}
		Answer  *struct{ Type, Detail string }
		Seconds float64
	}
	if err := json.Unmarshal(line, &report); err != nil {
		return r, fmt.Errorf("report %q: %w", line, err)
	}
	for _, d := range report.Deaths {
		of := cut
		switch {
		case d.Code == 1011 && d.By == "client":
			of = pingTimeout
		case d.By == "patience":
			of = stalled
		}
		r.deaths = append(r.deaths, death{of, time.Duration(d.Seconds * float64(time.Second)), d.Detail})
	}
	if a := report.Answer; a != nil {
		r.done, r.detail = a.Type == "done", a.Detail
	}
	r.took = time.Duration(report.Seconds * float64(time.Second))
	return r, nil
}
