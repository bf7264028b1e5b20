package uppy

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/wsingest/wsingest/examples/browser/chromium"
)

// patience is how long a test waits for what should happen soon, on a machine
// that has much else to do.
const patience = time.Minute

// chrome is one Chromium for all tests, each of which has a profile of its own
// in it.
var chrome chromium.Shared

// abreast is how many tests run at a time: what they do is mostly to wait.
const abreast = 4

// inPage skips a test of what is in the page, of which the race detector sees
// nothing: to the server it is the same as those that stay.
func inPage(t *testing.T) {
	t.Helper()
	if raced {
		t.Skip("what it is about is in the page, and the same under the race detector")
	}
}

func TestMain(m *testing.M) {
	flag.Parse()
	flag.Set("test.parallel", strconv.Itoa(abreast))
	code := m.Run()
	chrome.Close()
	os.Exit(code)
}

// tab is a Dashboard as a person sees it.
type tab struct {
	t   *testing.T
	ctx context.Context
}

// open opens a tab in a fresh profile.
func open(t *testing.T) *tab {
	t.Helper()
	ctx, err := chrome.Context()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := chromedp.NewContext(ctx, chromedp.WithNewBrowserContext())
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil { // the tab lives as long as this context
		t.Fatal(err)
	}
	b := &tab{t: t}
	b.ctx, cancel = context.WithTimeout(ctx, 2*patience)
	t.Cleanup(cancel)
	return b
}

// visit opens the page, and has it show a Dashboard with options for the plugin.
func visit(t *testing.T, s *server, options map[string]any) *tab {
	t.Helper()
	b := open(t)
	b.do(chromedp.EmulateViewport(1000, 960), chromedp.Navigate(s.line.url()))
	b.begin(options)
	return b
}

func (b *tab) reload(options map[string]any) {
	b.t.Helper()
	b.do(chromedp.Reload())
	b.begin(options)
}

func (b *tab) begin(options map[string]any) {
	b.t.Helper()
	text, err := json.Marshal(options)
	if err != nil {
		b.t.Fatal(err)
	}
	b.until("the page is loaded", func() bool { return eval[bool](b, `typeof begin === "function"`) })
	eval[bool](b, fmt.Sprintf("begin(%s ?? {}), true", text))
}

func (b *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, actions...); err != nil {
		b.t.Fatal(err)
	}
}

// eval returns the value of an expression in the page.
func eval[T any](b *tab, expression string) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	return v
}

func (b *tab) until(what string, ok func() bool) {
	b.t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.t.Fatalf("waited too long until %s\nthe page has: %s", what, eval[string](b, `JSON.stringify(globalThis.uppy?.getFiles().map((f) => [f.name, f.isPaused, f.error, f.progress]))`))
		}
	}
}

// choose gives files to the Dashboard as its file dialog does.
func (b *tab) choose(files map[string][]byte) {
	b.t.Helper()
	var paths []string
	for _, name := range slices.Sorted(maps.Keys(files)) {
		paths = append(paths, b.save(name, files[name]))
	}
	b.give(paths...)
}

func (b *tab) save(name string, p []byte) (path string) {
	b.t.Helper()
	path = filepath.Join(b.t.TempDir(), name)
	if err := os.WriteFile(path, p, 0o600); err != nil {
		b.t.Fatal(err)
	}
	return path
}

func (b *tab) give(paths ...string) {
	b.t.Helper()
	before := b.count("true")
	b.do(chromedp.SetUploadFiles(chromedp.JSPath(`document.querySelector(".uppy-Dashboard-input")`), paths, chromedp.NodeReady))
	b.until("the files are in the list", func() bool { return b.count("true") == before+len(paths) })
}

// count returns how many files f fulfil a condition.
func (b *tab) count(condition string) int {
	b.t.Helper()
	return eval[int](b, fmt.Sprintf(`uppy.getFiles().filter((f) => %s).length`, condition))
}

// is reports whether the file of this name fulfils a condition.
func (b *tab) is(name, condition string) bool {
	b.t.Helper()
	return eval[bool](b, fmt.Sprintf(`uppy.getFiles().some((f) => f.name === %q && Boolean(%s))`, name, condition))
}

// press clicks a button of the whole Dashboard.
func (b *tab) press(selector string) {
	b.t.Helper()
	b.click(fmt.Sprintf("document.querySelector(%q)", selector))
}

// pressOn clicks the button of one file that a screen reader calls so.
func (b *tab) pressOn(name, label string) {
	b.t.Helper()
	b.click(fmt.Sprintf("%s.querySelector('button[aria-label=%q]')", item(name), label))
}

// click waits until an element stands still with nothing over it, as a person
// would: the Dashboard slides its bars and messages in.
func (b *tab) click(element string) {
	b.t.Helper()
	b.until("there is "+element, func() bool { return eval[bool](b, fmt.Sprintf(free, element)) })
	b.do(chromedp.Click(chromedp.JSPath(element)))
}

const free = `(async () => {
	const box = () => {
		try {
			const element = %s, { x, y, width, height } = element.getBoundingClientRect();
			const hit = document.elementFromPoint(x + width / 2, y + height / 2);
			return element.contains(hit) && [x, y, width, height].join();
		} catch { return false } // it is not there yet
	};
	const before = box();
	await new Promise((resolve) => setTimeout(resolve, 50));
	return before !== false && before === box();
})()`

// item is where the Dashboard shows a file.
func item(name string) string {
	return fmt.Sprintf(`[...document.querySelectorAll(".uppy-Dashboard-Item")].find((e) => e.querySelector(".uppy-Dashboard-Item-name").title === %q)`, name)
}

// optional makes an expression for an element one that may meet nothing.
func optional(element string) string {
	return fmt.Sprintf(`(() => { try { return %s } catch { return null } })()`, element)
}

// says returns what the Dashboard shows as the error of a file.
func (b *tab) says(name string) string {
	b.t.Helper()
	return eval[string](b, fmt.Sprintf(`%s?.getAttribute("aria-label") ?? ""`, optional(item(name)+`.querySelector(".uppy-Dashboard-Item-errorDetails")`)))
}

// Buttons of the Dashboard's status bar.
const (
	startAll  = ".uppy-StatusBar-actionBtn--upload"
	pauseAll  = `.uppy-StatusBar-actionCircleBtn[aria-label=Pause]`
	resumeAll = `.uppy-StatusBar-actionCircleBtn[aria-label=Resume]`
	cancelAll = `.uppy-StatusBar-actionCircleBtn[aria-label=Cancel]`
	retryAll  = ".uppy-StatusBar-actionBtn--retry"
)

// content returns n bytes that look like nothing else.
func content(n int) []byte {
	p := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(n), byte(n >> 8), byte(n >> 16)}).Read(p)
	return p
}
