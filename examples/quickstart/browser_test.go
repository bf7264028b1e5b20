package main

import (
	"context"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"

	"github.com/wsingest/wsingest/examples/browser/chromium"
)

// chrome is one Chromium for all tests, each of which has a profile of its own
// in it.
var chrome chromium.Shared

// tab is the page as a person sees it.
type tab struct {
	t       *testing.T
	ctx     context.Context
	profile context.Context // of the tab, without a bound in time
	close   func()

	mu       sync.Mutex
	problems []string // errors in the page's console
}

// visitAt starts a program and opens its page over a line of rate bytes a
// second towards the server; 0: as fast as it goes.
func visitAt(t *testing.T, rate int64) (*program, *valve, *tab) {
	t.Helper()
	p := start(t, t.TempDir())
	v := newValve(t, p.addr())
	v.rate.Store(rate)
	return p, v, visit(t, v.url())
}

// visit opens url in a fresh profile.
func visit(t *testing.T, url string) *tab {
	t.Helper()
	if raced {
		t.Skip("a test of the page, of which the race detector sees nothing")
	}
	ctx, err := chrome.Context()
	if err != nil {
		t.Fatal(err)
	}
	return visitIn(t, ctx, url, chromedp.WithNewBrowserContext())
}

// another opens url in another tab of the same profile.
func (b *tab) another(url string) *tab {
	b.t.Helper()
	return visitIn(b.t, b.profile, url)
}

func visitIn(t *testing.T, browser context.Context, url string, options ...chromedp.ContextOption) *tab {
	t.Helper()
	b := &tab{t: t}
	var cancel context.CancelFunc
	b.profile, cancel = chromedp.NewContext(browser, options...)
	t.Cleanup(cancel)
	if err := chromedp.Do(b.profile); err != nil { // the tab lives as long as this context
		t.Fatal(err)
	}
	b.close = cancel
	go b.watch(chromedp.Console(b.profile))
	limit := 5 * patience
	if long {
		limit = time.Hour
	}
	b.ctx, cancel = context.WithTimeout(b.profile, limit)
	t.Cleanup(cancel)
	t.Cleanup(func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, p := range b.problems {
			t.Errorf("in the page: %s", p)
		}
	})
	b.do(chromedp.Navigate(url))
	return b
}

// watch notes errors nobody caught, and what the browser refused to do. That
// connections fail is what some of the tests are about.
func (b *tab) watch(console iter.Seq2[chromedp.ConsoleMessage, error]) {
	for m, err := range console {
		if err != nil {
			return
		}
		if m.IsException() || m.Type == chromedp.ConsoleError && m.Source != "network" && !strings.Contains(m.Text, "WebSocket connection to") {
			b.mu.Lock()
			b.problems = append(b.problems, m.String())
			b.mu.Unlock()
		}
	}
}

func (b *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, actions...); err != nil {
		b.t.Fatalf("%v\nthe page says: %s", err, b.text(".list"))
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

// shadow is where the pieces of the element are.
const shadow = `document.querySelector("ws-upload").shadowRoot`

// text returns what a piece of the element says.
func (b *tab) text(selector string) string {
	s, _ := chromedp.Run(b.ctx, chromedp.Evaluate[string](fmt.Sprintf(shadow+`.querySelector(%q)?.textContent ?? ""`, selector)))
	return s
}

// choose gives files to the page as its file dialog does.
func (b *tab) choose(paths ...string) {
	b.t.Helper()
	b.do(chromedp.SetUploadFiles(chromedp.JSPath(shadow+`.querySelector("input")`), paths, chromedp.NodeReady))
}

// drop drags files over the page and lets go of them.
func (b *tab) drop(paths ...string) {
	b.t.Helper()
	for _, typ := range []input.DispatchDragEventType{
		input.DispatchDragEventTypeDragEnter, input.DispatchDragEventTypeDragOver, input.DispatchDragEventTypeDrop,
	} {
		b.drag(typ, paths...)
	}
}

func (b *tab) drag(typ input.DispatchDragEventType, paths ...string) {
	b.t.Helper()
	data := input.DragData{Items: []*input.DragDataItem{}, Files: paths, DragOperationsMask: 1}
	p := input.DispatchDragEventParams{Type: typ, X: 300, Y: 250, Data: &data}
	if _, err := chromedp.Call(b.ctx, input.DispatchDragEvent, p); err != nil {
		b.t.Fatal(err)
	}
}

// press clicks the button that a screen reader calls so.
func (b *tab) press(label string) {
	b.t.Helper()
	b.do(chromedp.Click(chromedp.JSPath(fmt.Sprintf(shadow+".querySelector('button[aria-label=%q]')", label))))
}

func (b *tab) state() string {
	b.t.Helper()
	return eval[string](b, shadow+`.querySelector(".row:not([data-state=interrupted])")?.dataset.state ?? ""`)
}

// await waits until the first row is in a state.
func (b *tab) await(state string) {
	b.t.Helper()
	b.until("the upload is "+state, func() bool { return b.state() == state })
}

// arrived waits until part of the first row's file, 0 to 1, has arrived.
func (b *tab) arrived(part float64) {
	b.t.Helper()
	b.until(fmt.Sprintf("%.0f %% have arrived", part*100), func() bool {
		return eval[float64](b, `(({received, length}) => received / length)(document.querySelector("ws-upload").uploads[0]?.progress ?? {received: 0, length: 1})`) >= part
	})
}

func (b *tab) until(what string, ok func() bool) {
	b.t.Helper()
	b.within(patience, what, ok)
}

func (b *tab) within(limit time.Duration, what string, ok func() bool) {
	b.t.Helper()
	for deadline := time.Now().Add(limit); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.t.Fatalf("waited too long until %s\nthe page says: %s", what, b.text(".list"))
		}
	}
}

// file makes one to upload.
func file(t *testing.T, name string, p []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, p, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
