package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/systeminfo"
	"github.com/chromedp/chromedp"

	"github.com/wsingest/wsingest/examples/browser/chromium"
)

// A browser is killed in the middle of an upload. The next one has the handle
// of the file, and goes on at the press of a button.
func TestCrashedBrowserGoesOnWithoutTheFileBeingChosen(t *testing.T) {
	t.Parallel()
	const size = 12 << 20
	dir, err := os.MkdirTemp("", "quickstart-crash-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // after the browser, whose children may still be writing
		for deadline := time.Now().Add(patience / 10); os.RemoveAll(dir) != nil && time.Now().Before(deadline); {
			time.Sleep(50 * time.Millisecond)
		}
	})
	p := start(t, t.TempDir())
	v := newValve(t, p.addr())
	v.rate.Store(slow)

	browser := launchIn(t, dir)
	b := visitIn(t, browser, v.url())
	ask[bool](b, fmt.Sprintf(`
		const root = await navigator.storage.getDirectory(); // its handles need nobody's permission
		const handle = await root.getFileHandle("film.bin", {create: true});
		const writable = await handle.createWritable();
		await writable.write(bytes(0, %d));
		await writable.close();
		document.querySelector("ws-upload").add([{file: await handle.getFile(), handle}]);
		return true`, size))
	b.arrived(0.5)
	durable := eval[int64](b, `document.querySelector("ws-upload").uploads[0].progress.durable`)
	kill(t, browser)
	eventually(t, "the server has seen the connection end", func() bool { return len(p.connections()) == 1 })
	before := p.connections()[0].Bytes

	b = visitIn(t, launchIn(t, dir), v.url())
	b.until("the list has what is not finished", func() bool { return strings.Contains(b.text(".row[data-state=interrupted]"), "film.bin") })
	v.rate.Store(0)
	b.press("Continue film.bin")
	b.await("done")
	expectFile(t, p.published("film.bin"), arithmetic(size))
	if before < durable {
		t.Errorf("the server had %d bytes, the page took %d for safe", before, durable)
	}
	p.expectGoesOn(before, size)
}

func launchIn(t *testing.T, dir string) context.Context {
	t.Helper()
	ctx, stop, err := chromium.Start(context.Background(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return ctx
}

// kill ends a browser as the kernel does that needs its memory.
func kill(t *testing.T, browser context.Context) {
	t.Helper()
	info, err := chromedp.CallBrowser(browser, systeminfo.GetProcessInfo, cdp.Empty{})
	if err != nil {
		t.Fatal(err)
	}
	for _, process := range info.ProcessInfo {
		if process.Type == "browser" {
			running, err := os.FindProcess(int(process.ID))
			if err == nil {
				err = running.Kill()
			}
			if err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatal("the browser does not say which process it is")
}
