package uppy

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// fewest is how many cases there are, at least, for a client that sends files.
const fewest = 60

// The page goes through the cases as conformance/README.md says, with a file of
// Uppy's for each.
const goThrough = `(async () => {
  const { report, cases } = await (await fetch(%q, { method: 'POST' })).json();
  const left = cases.values();
  const play = async () => {
    for (const { name, upload, content, verdict, stream, ticket } of left) {
      const end = (outcome, said) => fetch(verdict, { method: 'POST', body: JSON.stringify({ outcome, said }) });
      if (stream) {
        await end('skipped', 'Uppy has no streams');
        continue;
      }
      const file = new File([await (await fetch(content)).blob()], name + '.bin');
      const { error, response } = await send(upload, file, { ticket });
      await (error ? end('failure', error + ' ' + (response?.body?.text ?? '')) : end('success', 'done'));
    }
  };
  await Promise.all(Array.from({ length: 8 }, play));
  return await (await fetch(report)).text();
})()`

// serveCases starts the server of examples/conformance, and returns where a run
// of it begins.
func serveCases(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "conformance")
	if out, err := exec.Command("go", "build", "-o", program, "../conformance").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	cmd := exec.CommandContext(t.Context(), program, "-addr", "127.0.0.1:0")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		t.Fatalf("the server does not say where it is: %v", lines.Err())
	}
	at := regexp.MustCompile(`http://\S+/runs`).FindString(lines.Text())
	if at == "" {
		t.Fatalf("the server does not say where it is, but %q", lines.Text())
	}
	go func() { // what came of each case, which the report has too
		for lines.Scan() {
		}
	}()
	return at
}

// With nothing beside it, and eight cases at a time: the server looks at the
// clock, and a page that waits for the processor looks like one that waits.
func TestPluginPassesTheConformanceCases(t *testing.T) {
	if raced {
		t.Skip("the server is a process of its own, and the same under the race detector")
	}
	s := newServer(t)
	runs := serveCases(t)
	b := open(t)
	b.do(chromedp.Navigate(s.line.url()))
	b.until("the page is loaded", func() bool { return eval[bool](b, `typeof send === "function"`) })
	text := eval[string](b, fmt.Sprintf(goThrough, runs))

	var report struct {
		Cases []struct {
			Name, Status, Why string
			Findings          []struct{ Rule, Text string }
			Trace             []string
		}
	}
	if err := json.Unmarshal([]byte(text), &report); err != nil {
		t.Fatal(err)
	}
	passed := 0
	for _, c := range report.Cases {
		switch {
		case c.Status == "passed":
			passed++
		case c.Status != "not tried" || !strings.HasPrefix(c.Name, "stream"): // Uppy has files only
			t.Errorf("%s: %s %s %v\n%s", c.Name, c.Status, c.Why, c.Findings, strings.Join(c.Trace, "\n"))
		}
	}
	if passed < fewest {
		t.Errorf("%d of %d cases passed, expected %d at least", passed, len(report.Cases), fewest)
	}
	t.Logf("%d of %d cases passed", passed, len(report.Cases))
}
