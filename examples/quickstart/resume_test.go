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

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"go.uber.org/zap"

	"github.com/wsingest/wsingest/middleware"
	"github.com/wsingest/wsingest/resume"
)

// long has tests take the times that the promises speak of; else they take as
// much as shows the same.
var long = os.Getenv("WSINGEST_LONG") != ""

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

// A page that ends in the middle of an upload leaves it to the next one, which
// sends nothing that is below the server's offset.
func TestNextPageGoesOn(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*tab, string) *tab{
		"reload": func(b *tab, _ string) *tab {
			b.do(chromedp.Reload())
			return b
		},
		"closed tab": func(b *tab, url string) *tab {
			next := b.another(url)
			if _, err := chromedp.Call(b.ctx, page.Close, cdp.Empty{}); err != nil {
				b.t.Fatal(err)
			}
			return next
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, v, b := visitAt(t, slow)
			want := content(12 << 20)
			path := file(t, "film.bin", want)
			b.choose(path)
			b.arrived(0.5)
			durable := eval[int64](b, `document.querySelector("ws-upload").uploads[0].progress.durable`)
			b = end(b, v.url())
			eventually(t, "the server has seen the connection end", func() bool { return len(p.connections()) == 1 })
			before := p.connections()[0].Bytes

			b.do(chromedp.Reload()) // the list is of when the page was opened
			b.until("the list has what is not finished", func() bool { return strings.Contains(b.text(".row[data-state=interrupted]"), "film.bin") })
			b.tap()
			v.rate.Store(0)
			b.choose(path)
			b.await("done")
			expectFile(t, p.published("film.bin"), want)
			p.expectGoesOn(before, len(want))
			if w := b.wire(); len(w) != 1 || w[0].Cursor < durable || w[0].Sent != int64(len(want))-w[0].Cursor {
				t.Errorf("%d bytes were safe, the next page sent %+v", durable, w)
			}
		})
	}
}

func TestServerIsRestarted(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*program){
		"killed":  func(p *program) { p.cmd.Process.Kill(); p.cmd.Wait() },
		"stopped": (*program).stop, // says goaway
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			p := start(t, dir)
			v := newValve(t, p.addr())
			v.rate.Store(slow)
			b := visit(t, v.url())
			b.tap()
			want := content(16 << 20)
			b.choose(file(t, "film.bin", want))
			b.arrived(0.1)
			v.cut()
			b.await("waiting")
			b.await("uploading")
			b.arrived(0.3)

			end(p)
			b.await("waiting")
			durable := eval[int64](b, `document.querySelector("ws-upload").uploads[0].progress.durable`)
			p = start(t, dir)
			v.redirect(p.addr())
			v.rate.Store(0)
			b.await("done")
			expectFile(t, p.published("film.bin"), want)
			if durable == 0 {
				t.Error("nothing was safe before the end")
			}
			if r := p.resumes(); len(r) != 1 || r[0].Offset < durable {
				t.Errorf("%d bytes were safe, after the restart: %v", durable, r)
			}
			if w := b.wire(); w[len(w)-1].Cursor < durable {
				t.Errorf("%d bytes were safe, and the page sent from %d", durable, w[len(w)-1].Cursor)
			}
		})
	}
}

// While there is no network the page waits, longer and longer. As soon as the
// browser says that it is back, so is the upload.
func TestNetworkIsGoneForAWhile(t *testing.T) {
	t.Parallel()
	gone := 3 * time.Second
	if long {
		gone = 20 * time.Second
	}
	for name, back := range map[string]func(*tab){
		"online": func(b *tab) { b.online(true) },
		"page seen again": func(b *tab) {
			eval[bool](b, `document.dispatchEvent(new Event("visibilitychange"))`)
		},
		"nothing said": func(*tab) {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, v, b := visitAt(t, slow)
			want := content(12 << 20)
			b.choose(file(t, "film.bin", want))
			b.arrived(0.3)
			if name == "online" {
				b.online(false)
			}
			v.dark(true)
			began := time.Now()
			b.await("waiting")
			b.until("it has waited long enough", func() bool { return time.Since(began) >= gone })
			if name != "nothing said" { // into a pause that would be long
				b.until("the next attempt is far off", func() bool { return b.pause() > 5*time.Second })
			}
			v.dark(false)
			v.rate.Store(0)
			before, returned := b.pause(), time.Now()
			back(b)
			b.until("it goes on", func() bool { return b.state() != "waiting" })
			if took := time.Since(returned); name != "nothing said" && took > before/2 {
				t.Errorf("it went on %v after the network was back, its pause would have been over in %v", took, before)
			}
			b.await("done")
			expectFile(t, p.published("film.bin"), want)
			p.expectGoesOn(p.connections()[0].Bytes, len(want))
		})
	}
}

// pause returns how long the page will wait before its next attempt.
func (b *tab) pause() time.Duration {
	b.t.Helper()
	return time.Duration(eval[float64](b, `(u => u.state === "waiting" ? u.retryAt - Date.now() : 0)(document.querySelector("ws-upload").uploads[0])`)) * time.Millisecond
}

// online has the browser tell the page whether there is a network.
func (b *tab) online(yes bool) {
	b.t.Helper()
	p := network.OverrideNetworkStateParams{Offline: !yes, DownloadThroughput: -1, UploadThroughput: -1}
	if _, err := chromedp.Call(b.ctx, network.OverrideNetworkState, p); err != nil {
		b.t.Fatal(err)
	}
}

// A line that swallows everything looks alive to a browser for minutes.
func TestSilenceIsNoticed(t *testing.T) {
	t.Parallel()
	addr, files := serveWith(t, middleware.Options{Keepalive: middleware.Keepalive{Interval: time.Second}})
	v := newValve(t, addr)
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
	expectFile(t, filepath.Join(files, "film.bin"), want)
}

// taken has a newer tab take over the upload of an older one, under way.
func taken(t *testing.T) (p *program, v *valve, old, newest *tab, want []byte) {
	t.Helper()
	p, v, old = visitAt(t, slow)
	want = content(16 << 20)
	path := file(t, "film.bin", want)
	old.choose(path)
	old.arrived(0.2)
	newest = old.another(v.url())
	newest.tap()
	newest.choose(path)
	old.await("failed")
	return p, v, old, newest, want
}

// The same file in two tabs of one browser: the newest goes on, the other says so.
func TestNewestTabGoesOn(t *testing.T) {
	t.Parallel()
	p, v, old, newest, want := taken(t)
	if status := old.text(".row .status"); !strings.Contains(status, "Another") {
		t.Errorf("the older tab says %q", status)
	}
	newest.arrived(0.4)
	if w := newest.wire(); len(w) != 1 || w[0].Cursor == 0 {
		t.Errorf("the newest tab began from the first byte: %+v", w)
	}
	if state := old.state(); state != "failed" {
		t.Errorf("the older tab is %s: it took the upload back by itself", state)
	}

	old.press("Continue here film.bin")
	newest.await("failed")
	v.rate.Store(0)
	old.await("done")
	newest.press("Continue here film.bin")
	newest.await("done") // it hears what came of it
	expectFile(t, p.published("film.bin"), want)
	if n := len(p.logs.find(func(e entry) bool { return e.Msg == "upload delivered" })); n != 1 {
		t.Errorf("the file was delivered %d times", n)
	}
}

// Whoever clears the list of a tab whose upload another one has taken over does
// not delete it under that one's hands.
func TestWhatAnotherTabHasTakenOverIsNotDeleted(t *testing.T) {
	t.Parallel()
	p, v, old, newest, want := taken(t)
	newest.arrived(0.4)
	eval[bool](old, `document.querySelector("ws-upload").uploads[0].abort(), true`)
	old.until("it is over in the older tab", func() bool {
		return eval[bool](old, `document.querySelector("ws-upload").uploads[0]?.state !== "aborting"`)
	})
	v.rate.Store(0)
	newest.await("done")
	expectFile(t, p.published("film.bin"), want)
	if n := len(p.resumes()); n != 1 {
		t.Errorf("the upload was opened again %d times, expected once: by the newest tab", n)
	}
}

// serveWith serves the page over an engine with options of the test's own, and
// returns its address and where finished files are.
func serveWith(t *testing.T, o middleware.Options, more ...func(*http.ServeMux)) (addr, files string) {
	t.Helper()
	dir := t.TempDir()
	files = filepath.Join(dir, "files")
	s, err := newServer(config{dir: dir}, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	o.Routes = []string{"/upload/"}
	o.Publish = &middleware.Publish{Dir: files, OnConflict: resume.ConflictRename}
	if s.ingest, err = middleware.New(s.store, o); err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/", s.routes())
	for _, add := range more {
		add(mux)
	}
	s.http.Handler = s.ingest.Wrap(mux)
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
	return l.Addr().String(), files
}
