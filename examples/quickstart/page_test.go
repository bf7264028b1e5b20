package main

import (
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"go.uber.org/zap"

	"github.com/wsingest/wsingest/middleware"
	"github.com/wsingest/wsingest/middleware/protocol"
)

const slow = 8 << 20 // bytes a second, on a line that is to be interrupted

func TestDroppedFilesArrive(t *testing.T) {
	t.Parallel()
	p := start(t, t.TempDir())
	b := visit(t, p.url)
	size := 64 << 20
	if testing.Short() { // under the race detector
		size = 16 << 20
	}
	large, small, empty := content(size), content(100), []byte{}
	b.drop(file(t, "large.bin", large), file(t, "small.txt", small), file(t, "empty", empty))
	b.until("all are done", func() bool {
		return eval[int](b, shadow+`.querySelectorAll(".row[data-state=done]").length`) == 3
	})
	expectFile(t, p.published("large.bin"), large)
	expectFile(t, p.published("small.txt"), small)
	expectFile(t, p.published("empty"), empty)

	link := eval[string](b, shadow+`.querySelector(".row a").href`)
	if resp, body := get(t, link); resp.StatusCode != http.StatusOK || len(body) != len(large) {
		t.Errorf("the link %s leads to %d with %d bytes", link, resp.StatusCode, len(body))
	}
	b.until("nothing is remembered as unfinished", func() bool { return len(b.remembered()) == 0 })
	if said := b.text("[role=status]"); !strings.Contains(said, "Uploaded") {
		t.Errorf("a screen reader was told %q last", said)
	}
}

// remembered returns the names of the uploads the browser would go on with.
func (b *tab) remembered() []string {
	b.t.Helper()
	return eval[[]string](b, `import("/wsingest/wsingest.js").then(async (m) => (await m.remembered(m.endpoint("/upload/"))).map((u) => u.name))`)
}

func TestPauseAndResume(t *testing.T) {
	t.Parallel()
	p, v, b := visitAt(t, slow)
	want := content(16 << 20)
	b.choose(file(t, "film.bin", want))
	b.arrived(0.2)
	b.press("Pause film.bin")
	b.await("paused")
	eventually(t, "the server has seen the connection end", func() bool { return len(p.connections()) == 1 })
	before := p.connections()[0].Bytes

	b.press("Resume film.bin")
	v.rate.Store(0)
	b.await("done")
	expectFile(t, p.published("film.bin"), want)
	p.expectGoesOn(before, len(want))
}

// connections returns what the connections that ended took in.
func (p *program) connections() []entry {
	return p.logs.find(func(e entry) bool { return e.Kind == string(middleware.Disconnected) && e.Bytes > 0 })
}

// resumes returns where uploads were gone on with.
func (p *program) resumes() []entry {
	return p.logs.find(func(e entry) bool { return e.Msg == "upload resumed" })
}

// expectGoesOn holds the promise that what the server has is not sent again:
// the last connection began behind the bytes taken in before it, and carried
// what was left and no more.
func (p *program) expectGoesOn(before int64, length int) {
	p.t.Helper()
	resumes := p.resumes()
	if len(resumes) == 0 {
		p.t.Fatal("the upload was not resumed")
	}
	offset := resumes[len(resumes)-1].Offset
	if offset < before || before == 0 {
		p.t.Errorf("the server had %d bytes, the upload went on at %d", before, offset)
	}
	eventually(p.t, "the last connection has ended", func() bool {
		all := p.connections()
		return len(all) > 0 && all[len(all)-1].Bytes == int64(length)-offset
	})
}

func TestReloadGoesOnWithTheSameFile(t *testing.T) {
	t.Parallel()
	p, v, b := visitAt(t, slow)
	want := content(16 << 20)
	path := file(t, "film.bin", want)
	b.choose(path)
	b.arrived(0.3)
	b.do(chromedp.Reload())
	b.until("the list has what is not finished", func() bool { return strings.Contains(b.text(".row[data-state=interrupted]"), "film.bin") })
	eventually(t, "the server has seen the connection end", func() bool { return len(p.connections()) == 1 })

	v.rate.Store(0)
	b.choose(path)
	b.await("done")
	expectFile(t, p.published("film.bin"), want)
	p.expectGoesOn(p.connections()[0].Bytes, len(want))
}

func TestChangedFileIsNoticed(t *testing.T) {
	t.Parallel()
	p, v, b := visitAt(t, slow)
	want := content(16 << 20)
	path := file(t, "film.bin", want)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	b.choose(path)
	b.arrived(0.3)
	b.do(chromedp.Reload())

	want[1000] ^= 1 // same name, same size, same time
	if err := os.WriteFile(path, want, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, time.Time{}, info.ModTime()); err != nil {
		t.Fatal(err)
	}
	v.rate.Store(0)
	b.choose(path)
	b.await("failed")
	if status := b.text(".row .status"); !strings.Contains(status, "other content") {
		t.Errorf("the page says %q", status)
	}
	b.press("Start over film.bin")
	b.await("done")
	expectFile(t, p.published("film.bin"), want)
}

func TestFileThatChangesWhileItIsSent(t *testing.T) {
	t.Parallel()
	_, _, b := visitAt(t, slow)
	path := file(t, "film.bin", content(16<<20))
	b.choose(path)
	b.arrived(0.2)
	if err := os.WriteFile(path, []byte("something else"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.await("failed")
	if status := b.text(".row .status"); !strings.Contains(status, "Choose it again") {
		t.Errorf("the page says %q", status)
	}
}

func TestCancelDeletes(t *testing.T) {
	t.Parallel()
	p, v, b := visitAt(t, slow)
	want := content(16 << 20)
	path := file(t, "film.bin", want)
	parts := func() int {
		found, err := filepath.Glob(filepath.Join(p.dir, "incoming", "*.part"))
		if err != nil {
			t.Fatal(err)
		}
		return len(found)
	}

	b.choose(path)
	b.arrived(0.2)
	b.press("Cancel film.bin")
	b.await("") // the row is gone
	if n := parts(); n != 0 {
		t.Errorf("%d uploads are left on the server", n)
	}

	// The same when there is no connection to say it on.
	b.choose(path)
	b.arrived(0.2)
	b.press("Pause film.bin")
	b.await("paused")
	b.press("Cancel film.bin")
	b.await("")
	if n := parts(); n != 0 {
		t.Errorf("%d uploads are left on the server", n)
	}

	v.rate.Store(0)
	b.choose(path)
	b.await("done")
	expectFile(t, p.published("film.bin"), want)
	eventually(t, "all of it was sent again on the last connection", func() bool {
		all := p.connections()
		return all[len(all)-1].Bytes == int64(len(want))
	})
}

func TestBrokenLineAndRestartedServer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := start(t, dir)
	v := newValve(t, p.addr())
	v.rate.Store(slow)
	b := visit(t, v.url())
	want := content(16 << 20)
	b.choose(file(t, "film.bin", want))
	b.arrived(0.1)
	v.cut()
	b.await("waiting")
	b.await("uploading")
	b.arrived(0.3)

	p.stop() // says goaway
	b.await("waiting")
	p = start(t, dir)
	v.redirect(p.addr())
	v.rate.Store(0)
	b.await("done")
	expectFile(t, p.published("film.bin"), want)
	if r := p.resumes(); len(r) == 0 || r[0].Offset == 0 {
		t.Errorf("after the restart: %v", r)
	}
}

// A line that swallows everything looks alive to a browser for minutes.
func TestSilenceIsNoticed(t *testing.T) {
	t.Parallel()
	c := config{dir: t.TempDir(), keepalive: middleware.Keepalive{Interval: time.Second}}
	s, err := newServer(c, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.serve(t.Context(), l) }() // until the test ends
	t.Cleanup(func() {
		if err := errors.Join(<-served, s.close()); err != nil {
			t.Error(err)
		}
	})

	v := newValve(t, l.Addr().String())
	v.rate.Store(slow)
	b := visit(t, v.url())
	want := content(16 << 20)
	b.choose(file(t, "film.bin", want))
	b.arrived(0.2)
	v.freeze()
	frozen := time.Now()
	v.rate.Store(0)
	b.await("done")
	if took := time.Since(frozen); took < 2*time.Second {
		t.Errorf("the line was given up after %v, before two intervals were over", took)
	}
	expectFile(t, filepath.Join(c.dir, "files", "film.bin"), want)
}

func TestAnotherWindowTakesOver(t *testing.T) {
	t.Parallel()
	p, v, b := visitAt(t, slow)
	want := content(16 << 20)
	b.choose(file(t, "film.bin", want))
	b.arrived(0.2)
	id := eval[string](b, `document.querySelector("ws-upload").uploads[0].id`)
	other := dial(t, p.url)
	other.open(id, "film.bin", len(want))
	b.await("failed")
	if code := eval[string](b, `document.querySelector("ws-upload").uploads[0].error.code`); code != "superseded" {
		t.Errorf("the page failed with %q", code)
	}
	b.press("Continue here film.bin")
	v.rate.Store(0)
	if e := expect[*protocol.Error](other); e.Code != protocol.Superseded {
		t.Errorf("the other connection got %v", e)
	}
	b.await("done")
	expectFile(t, p.published("film.bin"), want)
}

func TestServerSaysWhyItRefuses(t *testing.T) {
	t.Parallel()
	p := start(t, t.TempDir(), "-max-size", "1MB")
	b := visit(t, p.url)
	b.choose(file(t, "large.bin", content(2_000_000)))
	b.await("failed")
	if status := b.text(".row .status"); !strings.Contains(status, "at most 1000000 bytes") {
		t.Errorf("the page says %q", status)
	}
	b.press("Remove large.bin")
	b.await("")
}

func TestHostileNamesAreText(t *testing.T) {
	t.Parallel()
	p := start(t, t.TempDir())
	b := visit(t, p.url)
	name := `<img src=x onerror="document.title='pwned'">.html`
	want := content(1000)
	b.choose(file(t, name, want))
	b.await("done")
	expectFile(t, p.published(b.text(".row .name")), want)
	b.do(chromedp.Navigate(p.url + "files/"))
	if n := eval[int](b, `document.images.length`); n != 0 {
		t.Errorf("%d images were made of the name", n)
	}
	if title := eval[string](b, `document.title`); title != "Finished files" {
		t.Errorf("the title is %q", title)
	}
}

func TestKeyboardIsEnough(t *testing.T) {
	t.Parallel()
	_, _, b := visitAt(t, 1<<20)
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
