package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"

	"github.com/wsingest/wsingest/middleware"
)

// TestLook takes pictures of all states, into the directory that
// WSINGEST_PICTURES names, for a person to look at. That the states are reached
// is a test in any case.
func TestLook(t *testing.T) {
	t.Parallel()
	taken := make(chan struct{})
	release := sync.OnceFunc(func() { close(taken) })
	addr, _ := serveWith(t, middleware.Options{
		MaxSize: 30_000_000, Keepalive: middleware.Keepalive{Interval: time.Second},
		Confirm: func(ctx context.Context, up middleware.Taken) error {
			if up.State.Name == "slides.key" { // the app takes its time
				select {
				case <-taken:
				case <-ctx.Done():
				}
			}
			return nil
		},
	})
	t.Cleanup(release)
	v := newValve(t, addr)
	b := visit(t, v.url())
	album := newAlbum(b)
	state := func(i int, want string) {
		t.Helper()
		b.until(fmt.Sprintf("upload %d is %s", i, want), func() bool {
			return eval[string](b, fmt.Sprintf(`document.querySelector("ws-upload").uploads[%d]?.state ?? ""`, i)) == want
		})
	}
	album.shoot("1 idle")
	b.drag(input.DispatchDragEventTypeDragEnter, file(t, "a", nil))
	album.shoot("2 dragging")
	b.drag(input.DispatchDragEventTypeDragCancel, file(t, "a", nil))

	b.choose(file(t, "report.pdf", content(400_000)))
	state(0, "done")
	b.choose(file(t, "backup.iso", content(31_000_000)))
	state(1, "failed")
	b.choose(file(t, "slides.key", content(2_000_000)))
	state(2, "delivering")
	if part := b.text(".row:nth-child(3) .percent"); part != "100%" {
		t.Errorf("%s of a file that is delivered have arrived", part)
	}
	v.rate.Store(1 << 20)
	longName := "Protokoll der außerordentlichen Mitgliederversammlung vom 14. Dezember mit allen Anlagen und Anträgen (endgültig, korrigiert).docx"
	b.drop(file(t, "holiday.mov", content(28_000_000)), file(t, longName, content(27_000_000)), file(t, "notes.txt", content(1000)))
	b.until("there is a chart", func() bool {
		return eval[int](b, shadow+`.querySelector("[data-state=uploading] .line")?.getAttribute("d")?.length ?? 0`) > 80
	})
	state(5, "idle") // three at a time
	album.shoot("3 uploading")

	b.press("Pause holiday.mov")
	state(3, "paused")
	state(5, "done")
	v.dark(true)
	state(4, "waiting")
	album.shoot("4 paused and waiting")

	v.dark(false)
	v.rate.Store(1 << 20)
	release()
	state(2, "done")
	state(4, "uploading")
	received := func() int { return eval[int](b, `document.querySelector("ws-upload").uploads[4].progress.received`) }
	before := received()
	b.until("upload 4 gets further", func() bool { return received() > before }) // else its own connection that broke may be it
	id := eval[string](b, `document.querySelector("ws-upload").uploads[4].id`)
	dial(t, "http://"+addr+"/").open(id, longName, 27_000_000)
	state(4, "failed") // superseded
	album.shoot("5 another took over")

	b.do(chromedp.Reload())
	b.until("the list has what is not finished", func() bool {
		return eval[int](b, shadow+`.querySelectorAll("[data-state=interrupted]").length`) == 2
	})
	album.shoot("6 after a reload")
	b.do(chromedp.Navigate(v.url() + "files/"))
	album.shoot("7 finished files")
}

// album keeps pictures of a page.
type album struct {
	*tab
	dir string
}

func newAlbum(b *tab) album {
	dir := os.Getenv("WSINGEST_PICTURES")
	if dir == "" {
		dir = b.t.TempDir()
	}
	return album{b, dir}
}

// shoot takes a picture in light and in dark, on a desk and on a phone.
func (a album) shoot(name string) {
	a.t.Helper()
	for _, scheme := range []string{"light", "dark"} {
		p := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
			{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"}, // nothing on its way
		}}
		if _, err := chromedp.Call(a.ctx, emulation.SetEmulatedMedia, p); err != nil {
			a.t.Fatal(err)
		}
		for width, device := range map[int64]string{860: "desk", 375: "phone"} {
			a.do(chromedp.EmulateViewport(width, 760))
			png, err := chromedp.Run(a.ctx, chromedp.CaptureScreenshot())
			if err == nil {
				err = os.WriteFile(filepath.Join(a.dir, fmt.Sprintf("%s, %s, %s.png", name, device, scheme)), png, 0o644)
			}
			if err != nil {
				a.t.Fatal(err)
			}
		}
		// Nothing sticks out at the side of a phone.
		a.do(chromedp.EmulateViewport(375, 760))
		if over := eval[int](a.tab, `document.documentElement.scrollWidth - innerWidth`); over > 0 {
			a.t.Errorf("%s: the page is %d pixels wider than a phone", name, over)
		}
	}
	a.do(chromedp.EmulateViewport(860, 760))
}
