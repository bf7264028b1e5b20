package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// slow is a line that is to be interrupted, in bytes a second: slow enough that
// a busy machine comes to it in time.
const slow = 1 << 20

func TestDroppedFilesArrive(t *testing.T) {
	t.Parallel()
	p := start(t, t.TempDir())
	b := visit(t, p.url)
	large, small, empty := content(64<<20), content(100), []byte{}
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

func TestThreeAtATime(t *testing.T) {
	t.Parallel()
	p, _, b := visitAt(t, slow)
	eval[bool](b, `globalThis.most = 0, document.querySelector("ws-upload").addEventListener("upload-state", ({currentTarget}) => {
		most = Math.max(most, currentTarget.uploads.filter((u) => u.running).length);
	}), true`)
	var paths []string
	want := content(500_000)
	for i := range 8 {
		paths = append(paths, file(t, fmt.Sprintf("%d.bin", i), want))
	}
	b.drop(paths...)
	b.until("all are done", func() bool {
		return eval[int](b, shadow+`.querySelectorAll(".row[data-state=done]").length`) == len(paths)
	})
	if most := eval[int](b, "most"); most != 3 {
		t.Errorf("%d went at the same time, expected 3", most)
	}
	for i := range paths {
		expectFile(t, p.published(fmt.Sprintf("%d.bin", i)), want)
	}
}

// remembered returns the names of the uploads the browser would go on with.
func (b *tab) remembered() []string {
	b.t.Helper()
	return eval[[]string](b, `import("/wsingest/wsingest.js").then(async (m) => (await m.remembered(m.endpoint("/upload/"))).map((u) => u.name))`)
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

func TestServerSaysWhyItRefuses(t *testing.T) {
	t.Parallel()
	p := start(t, t.TempDir(), "-max-size", "1MB")
	b := visit(t, p.url)
	b.choose(file(t, "large.bin", content(2_000_000)))
	b.await("failed")
	if status := b.text(".row .status"); !strings.Contains(status, "at most 1.0 MB") {
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
