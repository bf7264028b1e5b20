package uppy

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp"
)

// picture saves what the page looks like into the directory that
// WSINGEST_PICTURES names, for a person to look at.
func (b *tab) picture(name string) {
	b.t.Helper()
	dir := os.Getenv("WSINGEST_PICTURES")
	if dir == "" {
		return
	}
	png, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "uppy-"+name+".png"), png, 0o644)
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

// mixed returns files of many sizes, and how many bytes they have.
func mixed(n, largest int) (files map[string][]byte, total int64) {
	files = map[string][]byte{"empty.bin": {}, "byte.bin": content(1), "big-1.bin": content(largest), "big-2.bin": content(largest + largest/2)}
	for i := 0; len(files) < n; i++ {
		files[fmt.Sprintf("file-%02d.bin", i)] = content(700 << (i % 11))
	}
	for _, p := range files {
		total += int64(len(p))
	}
	return files, total
}

func TestDashboardUploadsPausesAndResumes(t *testing.T) {
	t.Parallel()
	n := 20
	if raced {
		n = 8
	}
	files, total := mixed(n, 4<<20)
	s := newServer(t)
	s.line.rate.Store(256 << 10) // a slow machine is not to be through before it presses the button
	b := visit(t, s, map[string]any{"limit": 4})
	b.choose(files)
	s.line.sent.Store(0)
	b.press(startAll)
	b.until("the large file is on its way", func() bool { return b.is("big-2.bin", "f.progress.bytesUploaded > 500_000") })

	b.press(pauseAll)
	b.until("nothing is sent any more", func() bool { return s.connections() == 0 })
	if n := b.count("f.isPaused || f.progress.uploadComplete"); n != len(files) {
		t.Errorf("%d of %d files are paused or done", n, len(files))
	}
	b.picture("paused")
	b.press(resumeAll)
	b.until("they go on", func() bool { return s.wentOn("big-2.bin") > 0 })
	b.until("the progress shows", func() bool { return b.is("big-2.bin", "f.progress.percentage > 10") })
	b.picture("uploading")

	b.pressOn("big-2.bin", "Pause upload")
	b.until("one is paused", func() bool { return b.is("big-2.bin", "f.isPaused") })
	s.line.rate.Store(0)
	b.until("all others are done", func() bool { return b.count("f.progress.uploadComplete") == len(files)-1 })
	if s.has("big-2.bin") {
		t.Error("the file that was paused went on")
	}
	before := s.wentOn("big-2.bin")
	b.pressOn("big-2.bin", "Resume upload")
	b.until("all are done", func() bool { return b.count("f.progress.uploadComplete") == len(files) })
	b.until("the Dashboard says so", func() bool {
		return eval[bool](b, `document.querySelector(".uppy-StatusBar.is-complete") !== null`)
	})
	b.picture("complete")

	s.mustHave(files)
	if after := s.wentOn("big-2.bin"); after < before {
		t.Errorf("it went on at %d, after it had gone on at %d before", after, before)
	}
	// What is under way when a connection ends is sent again, and nothing else.
	if sent := s.line.sent.Load(); sent > total+total/2 {
		t.Errorf("%d bytes were sent for files of %d", sent, total)
	}
	if got := eval[string](b, `uppy.getFiles().find((f) => f.name === "big-1.bin").uploadURL`); got != s.line.url()+"shelf/big-1.bin" {
		t.Errorf("big-1.bin is said to be at %q", got)
	}
	if got := eval[string](b, `uppy.getFiles().find((f) => f.name === "big-1.bin").response.body.shelf`); got != "big-1.bin" {
		t.Errorf("the app's answer does not reach the page: %q", got)
	}
}

func TestNoMoreThanTheLimitAtATime(t *testing.T) {
	inPage(t)
	t.Parallel()
	s := newServer(t)
	s.line.rate.Store(1 << 20)
	b := visit(t, s, map[string]any{"limit": 2})
	files := map[string][]byte{}
	for i := range 6 {
		files[fmt.Sprintf("file-%d.bin", i)] = content(300_000 + i)
	}
	b.choose(files)
	b.press(startAll)
	most := 0
	b.until("all are done", func() bool {
		most = max(most, s.connections())
		return b.count("f.progress.uploadComplete") == len(files)
	})
	s.mustHave(files)
	// The connection of a file that is done may end after that of the next began.
	if most > 4 {
		t.Errorf("%d connections at a time for a limit of 2 files", most)
	}
}

func TestMetadataReachesTheApp(t *testing.T) {
	inPage(t)
	t.Parallel()
	s := newServer(t)
	b := visit(t, s, map[string]any{"allowedMetaFields": []string{"album", "year", "none"}, "lanes": 2, "wantDigest": "sha-256"})
	files := map[string][]byte{"film.bin": content(1000)}
	b.choose(files)
	eval[bool](b, `uppy.setMeta({ album: "holidays", year: 2026, secret: "x" }), true`)
	b.press(startAll)
	b.until("it is done", func() bool { return b.is("film.bin", "f.progress.uploadComplete") })
	s.mustHave(files)
	if got := fmt.Sprint(s.meta["film.bin"]); got != "map[album:holidays year:2026]" {
		t.Errorf("the app was told %s", got)
	}
	if digest := eval[string](b, `uppy.getFiles()[0].response.wsingest.digest["sha-256"]`); len(digest) != 44 {
		t.Errorf("the digest that was asked for is %q", digest)
	}
}
