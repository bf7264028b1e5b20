package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// TestLook takes a picture of every state, into the directory that
// WSINGEST_PICTURES names, for a person to look at. That the states are reached
// is a test in any case.
func TestLook(t *testing.T) {
	t.Parallel()
	dir := os.Getenv("WSINGEST_PICTURES")
	if dir == "" {
		dir = t.TempDir()
	}
	p := start(t, t.TempDir(), "-max-size", "30MB")
	v := newValve(t, p.addr())
	b := visit(t, v.url())
	picture := func(name string) {
		t.Helper()
		png, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	state := func(i int, want string) {
		t.Helper()
		b.until(fmt.Sprintf("upload %d is %s", i, want), func() bool {
			return eval[string](b, fmt.Sprintf(`document.querySelector("ws-upload").uploads[%d]?.state ?? ""`, i)) == want
		})
	}
	b.do(chromedp.EmulateViewport(860, 640))
	picture("idle")
	b.choose(file(t, "report.pdf", content(400_000)))
	state(0, "done")
	b.choose(file(t, "too-large.iso", content(31_000_000)))
	state(1, "failed")
	v.rate.Store(4 << 20)
	b.choose(file(t, "holiday.mov", content(28_000_000)))
	b.until("there is a chart", func() bool {
		return eval[int](b, shadow+`.querySelector("[data-state=uploading] .line")?.getAttribute("d")?.length ?? 0`) > 40
	})
	picture("uploading")
	if _, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "dark"}},
	}); err != nil {
		t.Fatal(err)
	}
	picture("dark")
	b.press("Pause holiday.mov")
	state(2, "paused")
	picture("paused")
	b.do(chromedp.EmulateViewport(390, 700))
	picture("narrow")
}
