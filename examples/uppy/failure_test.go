package uppy

import (
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

func TestFailedFilesAreRetried(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.refuse("refused.bin", http.StatusUnprocessableEntity, 1)
	s.refuse("late.bin", http.StatusServiceUnavailable, 1000)
	// Less than the 30 seconds after which the server wants to be asked again.
	b := visit(t, s, map[string]any{"giveUpAfter": 20_000})
	files := map[string][]byte{"refused.bin": content(90_000), "late.bin": content(500_000), "fine.bin": content(70_000)}
	b.choose(files)
	b.press(startAll)
	b.until("two have failed", func() bool { return b.count("f.error") == 2 && b.count("f.progress.uploadComplete") == 1 })
	if says := b.says("refused.bin"); !strings.Contains(says, "refused the file") || !strings.Contains(says, refusal("refused.bin")) {
		t.Errorf("the file that the app refused says %q", says)
	}
	if status := eval[int](b, `uppy.getFiles().find((f) => f.name === "refused.bin").response.status`); status != http.StatusUnprocessableEntity {
		t.Errorf("its answer has the status %d", status)
	}
	if says := b.says("late.bin"); !strings.Contains(says, "complete and safe") {
		t.Errorf("the file that the app did not take says %q", says)
	}
	b.picture("failed")

	b.pressOn("refused.bin", "Retry upload")
	b.until("the one is done", func() bool { return b.is("refused.bin", "f.progress.uploadComplete") })
	s.refuse("late.bin", 0, 0)
	s.line.sent.Store(0)
	b.pressOn("late.bin", "Retry upload")
	b.until("the other is done", func() bool { return b.is("late.bin", "f.progress.uploadComplete && !f.error") })
	if sent := s.line.sent.Load(); sent > 100_000 {
		t.Errorf("%d bytes were sent of a file that was complete", sent)
	}
	s.mustHave(files)
}

func TestLostConnectionIsRetriedWhereItWas(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.line.rate.Store(256 << 10)
	b := visit(t, s, map[string]any{"giveUpAfter": 2000})
	files := map[string][]byte{"one.bin": content(4 << 20), "two.bin": content(3 << 20)}
	b.choose(files)
	b.press(startAll)
	b.until("both are on their way", func() bool { return b.count("f.progress.bytesUploaded > 500_000") == 2 })
	s.line.down()
	b.until("both have failed", func() bool { return b.count("f.error") == 2 })
	s.line.up()
	s.line.rate.Store(0)
	b.press(retryAll)
	b.until("both are tried again", func() bool { return b.count("f.error") == 0 })
	b.until("both are done", func() bool { return b.count("f.progress.uploadComplete && !f.error") == 2 })
	s.mustHave(files)
	for name := range files {
		if s.wentOn(name) == 0 {
			t.Errorf("%s was sent from its beginning again", name)
		}
	}
}

func TestCancelledFilesDoNotArrive(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.line.rate.Store(512 << 10)
	b := visit(t, s, nil)
	unwanted, wanted := content(8<<20), content(1<<20)
	b.choose(map[string][]byte{"unwanted.bin": unwanted, "wanted.bin": wanted})
	b.press(startAll)
	b.until("it is on its way", func() bool { return b.is("unwanted.bin", "f.progress.bytesUploaded > 0") })
	b.pressOn("unwanted.bin", "Remove file")
	b.until("the server has forgotten it", func() bool { return s.cancelled() == 1 })
	s.line.rate.Store(0)
	b.until("the other is done", func() bool { return b.is("wanted.bin", "f.progress.uploadComplete") })
	s.mustHave(map[string][]byte{"wanted.bin": wanted})
}

func TestFileRemovedAndAddedAgainArrives(t *testing.T) {
	inPage(t)
	t.Parallel()
	s := newServer(t)
	s.line.rate.Store(512 << 10)
	b := visit(t, s, nil)
	files := map[string][]byte{"film.bin": content(2 << 20)}
	b.choose(files)
	b.press(startAll)
	b.until("it is on its way", func() bool { return b.is("film.bin", "f.progress.bytesUploaded > 0") })
	eval[bool](b, `(({ id, name, type, data }) => {
		uppy.removeFile(id);
		uppy.addFile({ name, type, data });
		uppy.upload();
		return true;
	})(uppy.getFiles()[0])`)
	s.line.rate.Store(0)
	b.until("it is done", func() bool { return b.is("film.bin", "f.progress.uploadComplete || f.error") })
	s.mustHave(files)
	if n := s.cancelled(); n != 1 {
		t.Errorf("%d uploads were deleted", n)
	}
}

func TestCancelAllStopsEverything(t *testing.T) {
	inPage(t)
	t.Parallel()
	s := newServer(t)
	s.line.rate.Store(512 << 10)
	b := visit(t, s, map[string]any{"limit": 2})
	b.choose(map[string][]byte{"a.bin": content(8 << 20), "b.bin": content(9 << 20), "c.bin": content(10 << 20)})
	b.press(startAll)
	b.until("two are on their way", func() bool { return b.count("f.progress.bytesUploaded > 0") == 2 })
	b.press(cancelAll)
	b.until("the list is empty", func() bool { return b.count("true") == 0 })
	b.until("the server has forgotten both", func() bool { return s.cancelled() == 2 && s.connections() == 0 })
	s.mustHave(nil)
}

func TestRemoteFilesAreRefusedWithAReason(t *testing.T) {
	inPage(t)
	t.Parallel()
	s := newServer(t)
	b := visit(t, s, nil)
	files := map[string][]byte{"here.bin": content(50_000)}
	b.choose(files)
	eval[string](b, `uppy.addFile({
		id: "drive-1", name: "there.jpg", type: "image/jpeg", isRemote: true, data: { size: 12345 },
		remote: { companionUrl: "https://companion.example", url: "https://companion.example/drive/get/1", provider: "drive", providerName: "Google Drive", requestClientId: "drive" },
	})`)
	b.press(startAll)
	b.until("the local one is done, and the other refused", func() bool {
		return b.is("here.bin", "f.progress.uploadComplete") && b.is("there.jpg", "f.error")
	})
	if says := b.says("there.jpg"); !strings.Contains(says, "This file is at Google Drive, and only files of this device can be uploaded here.") {
		t.Errorf("it says %q", says)
	}
	b.picture("remote")
	s.mustHave(files)
}

func TestReloadedPageGoesOn(t *testing.T) {
	inPage(t)
	t.Parallel()
	for name, golden := range map[string]bool{"with the file chosen again": false, "with Golden Retriever": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			s.line.rate.Store(512 << 10)
			b := visit(t, s, map[string]any{"golden": golden})
			files := map[string][]byte{"film.bin": content(4 << 20)}
			path := b.save("film.bin", files["film.bin"])
			b.give(path)
			b.press(startAll)
			b.until("it is on its way", func() bool { return b.is("film.bin", "f.progress.bytesUploaded > 1_000_000") })
			b.reload(map[string]any{"golden": golden})
			s.line.rate.Store(0)
			if golden {
				b.until("the file is restored", func() bool { return b.is("film.bin", "f.isRestored && !f.isGhost") })
			} else {
				b.give(path)
			}
			b.press(startAll)
			b.until("it is done", func() bool { return b.is("film.bin", "f.progress.uploadComplete") })
			s.mustHave(files)
			if s.wentOn("film.bin") == 0 {
				t.Error("it was sent from its beginning again")
			}
		})
	}
}

func TestChangedFileIsNoticedAndSentAnew(t *testing.T) {
	inPage(t)
	t.Parallel()
	s := newServer(t)
	s.line.rate.Store(512 << 10)
	b := visit(t, s, nil)
	before, after := content(4<<20), content(4<<20)
	after[100]++
	date := time.Unix(1_700_000_000, 0)
	path := b.save("film.bin", before)
	b.date(path, date)
	b.give(path)
	b.press(startAll)
	b.until("it is on its way", func() bool { return b.is("film.bin", "f.progress.bytesUploaded > 500_000") })
	b.reload(nil)
	s.line.rate.Store(0)
	if err := os.WriteFile(path, after, 0o600); err != nil {
		t.Fatal(err)
	}
	b.date(path, date)
	b.give(path)
	b.press(startAll)
	b.until("it has failed", func() bool { return b.is("film.bin", "f.error") })
	if says := b.says("film.bin"); !strings.Contains(says, "other content") {
		t.Errorf("it says %q", says)
	}
	b.retry()
	b.until("it is done", func() bool { return b.is("film.bin", "f.progress.uploadComplete && !f.error") })
	s.mustHave(map[string][]byte{"film.bin": after})
}

// retry presses the button until Uppy has heard of it, once: the Dashboard may
// draw its bar anew between the two halves of a click.
func (b *tab) retry() {
	b.t.Helper()
	eval[bool](b, `uppy.once("retry-all", () => { globalThis.retried = true }), true`)
	b.until("it is tried again", func() bool {
		b.press(retryAll)
		return eval[bool](b, `(async () => {
			for (let i = 0; i < 20 && !globalThis.retried; i++) await new Promise((r) => setTimeout(r, 50));
			return Boolean(globalThis.retried);
		})()`)
	})
}

// date sets when a file was written.
func (b *tab) date(path string, at time.Time) {
	b.t.Helper()
	if err := os.Chtimes(path, at, at); err != nil {
		b.t.Fatal(err)
	}
}

func TestPluginLeavesNothingBehind(t *testing.T) {
	inPage(t)
	t.Parallel()
	s := newServer(t)
	s.line.rate.Store(512 << 10)
	b := visit(t, s, nil)
	b.choose(map[string][]byte{"film.bin": content(8 << 20)})
	eval[bool](b, `globalThis.outcome = uppy.upload(), true`)
	b.until("it is on its way", func() bool { return b.is("film.bin", "f.progress.bytesUploaded > 0") })
	eval[bool](b, `uppy.removePlugin(uppy.getPlugin("WsIngest")), true`)
	if failed := eval[string](b, `outcome.then(({ failed }) => failed[0].error)`); !strings.Contains(failed, "took its uploader away") {
		t.Errorf("the upload ended with %q", failed)
	}
	b.until("nothing is sent any more", func() bool { return s.connections() == 0 })
	if eval[bool](b, `uppy.getState().capabilities.resumableUploads`) {
		t.Error("Uppy still offers to pause")
	}
	s.mustHave(nil)
}
