package main

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	cdpruntime "github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/cdproto/systeminfo"
	"github.com/chromedp/chromedp"
)

// A file that is many times larger than what the page may need. Not beside the
// other tests: their pages would be measured as well.
func TestLargeFileNeedsLittleMemory(t *testing.T) {
	const size, most = 512 << 20, 150 << 20
	path, want := largeFile(t, size)
	p := start(t, t.TempDir())
	b := visit(t, p.url)
	b.drop(path)
	var heap, private int64
	b.within(4*patience, "it is done", func() bool {
		heap, private = max(heap, b.heap()), max(private, b.private())
		return b.state() == "done"
	})
	t.Logf("%d MiB: the page's heap and buffers had at most %d MiB, its process %d MiB", size>>20, heap>>20, private>>20)
	if heap > most || private > most {
		t.Errorf("the page needed more than %d MiB", most>>20)
	}
	if runtime.GOOS == "linux" && private == 0 {
		t.Error("no renderer process was found to measure")
	}
	f, err := os.Open(p.published("large.bin"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		t.Fatal(err)
	}
	if [32]byte(h.Sum(nil)) != want {
		t.Error("what arrived is not what was sent")
	}
}

// largeFile writes size bytes that look like nothing else, without having them
// in memory at once.
func largeFile(t *testing.T, size int64) (path string, sum [32]byte) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "large.bin")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.CopyN(io.MultiWriter(f, h), rand.NewChaCha8([32]byte{7}), size); err != nil {
		t.Fatal(err)
	}
	return path, [32]byte(h.Sum(nil))
}

// heap returns what the page's scripts hold, buffers outside of the heap
// included, in bytes.
func (b *tab) heap() int64 {
	b.t.Helper()
	use, err := chromedp.Call(b.ctx, cdpruntime.GetHeapUsage, cdp.Empty{})
	if err != nil {
		b.t.Fatal(err)
	}
	return int64(use.UsedSize + use.BackingStorageSize)
}

// private returns the memory that the page's process has for itself, in bytes:
// what Chromium's own task manager calls its footprint, anything it holds
// outside of the heap included. 0 where it cannot be seen.
func (b *tab) private() (most int64) {
	b.t.Helper()
	info, err := chromedp.CallBrowser(b.ctx, systeminfo.GetProcessInfo, cdp.Empty{})
	if err != nil {
		b.t.Fatal(err)
	}
	for _, process := range info.ProcessInfo {
		if process.Type == "renderer" { // the page's own, or a smaller one in reserve
			most = max(most, footprint(process.ID))
		}
	}
	return most
}

func footprint(pid int64) (sum int64) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0 // it has ended, or there is no /proc
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		key, value, _ := strings.Cut(s.Text(), ":")
		if key == "RssAnon" || key == "RssShmem" || key == "VmSwap" {
			var kib int64
			fmt.Sscan(value, &kib)
			sum += kib << 10
		}
	}
	return sum
}
