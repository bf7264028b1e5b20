// Package chromium starts the browser in which tests try what runs in pages.
package chromium

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/chromedp/chromedp"
)

// Start starts a Chromium without a window that keeps its profile in dir. It
// ends when stop is called, or parent is done.
func Start(parent context.Context, dir string) (ctx context.Context, stop func(), err error) {
	path := find()
	if path == "" {
		return nil, nil, errors.New("no Chromium found: install it (apt-get install chromium), what is in pages is tested in a real browser")
	}
	options := []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(path), chromedp.UserDataDir(dir), chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		// Every window has a page of its own for what drops down from the address
		// bar, and that page takes as much of the processor as the one tested.
		chromedp.Flag("disable-features", "WebUIOmniboxPopup,WebUIOmniboxFullPopup,WebUIOmniboxAimPopup"),
	}
	for _, flag := range []string{
		"disable-quic", "disable-background-networking", "disable-component-update", "disable-sync", "disable-dev-shm-usage",
		// Several tests share the browser, and only one of its tabs is in front.
		"disable-background-timer-throttling", "disable-backgrounding-occluded-windows", "disable-renderer-backgrounding",
	} {
		options = append(options, chromedp.Flag(flag, true))
	}
	ctx, end := chromedp.NewExecAllocator(parent, options...)
	ctx, _ = chromedp.NewContext(ctx)
	stop = func() {
		chromedp.Cancel(ctx)
		end()
	}
	if err := chromedp.Do(ctx); err != nil {
		stop()
		return nil, nil, err
	}
	return ctx, stop, nil
}

func find() string {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

// Shared is one Chromium for all tests of a package, each of which has a profile
// of its own in it (chromedp.WithNewBrowserContext). It starts when the first of
// them asks for it.
type Shared struct {
	once sync.Once
	ctx  context.Context
	err  error
	dir  string
	stop func()
}

// Context returns what the contexts of tabs are made from.
func (s *Shared) Context() (context.Context, error) {
	s.once.Do(func() {
		if s.dir, s.err = os.MkdirTemp("", "chromium-"); s.err == nil {
			s.ctx, s.stop, s.err = Start(context.Background(), s.dir)
		}
	})
	return s.ctx, s.err
}

// Close ends the browser, if it was started, and removes what it left behind.
func (s *Shared) Close() {
	if s.stop != nil {
		s.stop()
	}
	for range 50 { // its children may still be writing
		if s.dir == "" || os.RemoveAll(s.dir) == nil {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
}
