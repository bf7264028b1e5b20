package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

func TestKeyboardIsEnough(t *testing.T) {
	t.Parallel()
	_, _, b := visitAt(t, 256<<10)
	focused := func() string {
		return eval[string](b, `(e => e?.getAttribute("aria-label") ?? e?.textContent ?? "nothing")(`+shadow+`.activeElement)`)
	}
	b.do(chromedp.KeyEvent(kb.Tab))
	if got := focused(); got != "Choose files" {
		t.Errorf("Tab leads to %q first", got)
	}
	want := content(4 << 20)
	b.choose(file(t, "film.bin", want))
	b.arrived(0.1)
	for _, step := range []struct{ key, state, focus string }{
		{kb.Tab, "uploading", "Pause film.bin"},
		{kb.Enter, "paused", "Resume film.bin"},
		{" ", "uploading", "Pause film.bin"},
		{kb.Tab, "uploading", "Cancel film.bin"},
	} {
		b.do(chromedp.KeyEvent(step.key))
		b.await(step.state)
		if got := focused(); got != step.focus {
			t.Errorf("behind %q the focus is on %q, expected %q", step.key, got, step.focus)
		}
	}
	b.do(chromedp.KeyEvent(kb.Enter))
	b.await("")
	if got := focused(); got != "Choose files" {
		t.Errorf("when its row is gone the focus is on %q", got)
	}
	if unnamed := eval[string](b, `[...`+shadow+`.querySelectorAll("button, input:not([aria-hidden]), [role=progressbar]")].filter(e => !e.ariaLabel && !e.textContent).map(e => e.outerHTML).join()`); unnamed != "" {
		t.Errorf("a screen reader has no name for %s", unnamed)
	}
}

// What a screen reader is given of the page, and what it is told while an upload goes on.
func TestScreenReaderIsTold(t *testing.T) {
	t.Parallel()
	p, v, b := visitAt(t, 256<<10)
	eval[bool](b, `globalThis.told = [], new MutationObserver(() => told.push(`+shadow+`.querySelector("[role=status]").textContent))
		.observe(`+shadow+`.querySelector("[role=status]"), {childList: true, characterData: true, subtree: true}), true`)
	want := content(4 << 20)
	b.choose(file(t, "film.bin", want))
	b.arrived(0.1)
	b.press("Pause film.bin")
	b.await("paused")
	tree := b.accessible()
	for _, want := range []string{
		`heading "Upload files"`, `button "Choose files": Interrupted uploads go on where they stopped`, `list "Uploads"`, `listitem`,
		`progressbar "film.bin"`, `button "Resume film.bin"`, `button "Cancel film.bin"`, `status`, `link "Finished files"`,
	} {
		if !slices.ContainsFunc(tree, func(s string) bool { return strings.HasPrefix(s, want) }) {
			t.Errorf("there is no %s in\n%s", want, strings.Join(tree, "\n"))
		}
	}
	if i := slices.IndexFunc(tree, func(s string) bool { return strings.Contains(s, `button ""`) || strings.Contains(s, `image`) }); i >= 0 {
		t.Errorf("a screen reader is given %s", tree[i])
	}
	if value := eval[string](b, shadow+`.querySelector("[role=progressbar]").getAttribute("aria-valuetext")`); !strings.Contains(value, "of 4.2 MB") {
		t.Errorf("the progress is %q", value)
	}
	b.press("Resume film.bin")
	v.dark(true)
	b.await("waiting")
	v.dark(false)
	v.rate.Store(0)
	b.await("done")
	expectFile(t, p.published("film.bin"), want)
	told := eval[[]string](b, "told")
	for _, want := range []string{"film.bin: Paused", "film.bin: The connection", "film.bin: Uploaded"} {
		if !slices.ContainsFunc(told, func(s string) bool { return strings.HasPrefix(s, want) }) {
			t.Errorf("nobody was told %q: %q", want, told)
		}
	}
	if len(told) > 10 { // progress is not read out
		t.Errorf("%d times something was said", len(told))
	}
}

// accessible returns what a screen reader is given: roles, names and descriptions.
func (b *tab) accessible() (found []string) {
	b.t.Helper()
	tree, err := chromedp.Call(b.ctx, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{})
	if err != nil {
		b.t.Fatal(err)
	}
	text := func(v *accessibility.Value) string {
		if v == nil {
			return ""
		}
		return strings.Trim(string(v.Value), `"`)
	}
	for _, n := range tree.Nodes {
		if !n.Ignored {
			found = append(found, fmt.Sprintf("%s %q: %s", text(n.Role), text(n.Name), text(n.Description)))
		}
	}
	return found
}
