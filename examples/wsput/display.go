package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/wsingest/wsingest/resume/client"
)

// display is what a person sees on stderr: one bar for all files, and lines
// above it.
type display struct {
	w     io.Writer
	quiet bool

	mu       sync.Mutex
	bar      *progressbar.ProgressBar // nil: not a terminal
	total    int64                    // bytes of all files so far; -1: not known
	received int64
	files    int
	done     int
}

func newDisplay(w io.Writer, quiet bool, files int) *display {
	d := &display{w: w, quiet: quiet, files: files}
	f, ok := w.(*os.File)
	if quiet || !ok || !term.IsTerminal(int(f.Fd())) {
		return d
	}
	d.bar = progressbar.NewOptions64(-1,
		progressbar.OptionSetWriter(w),
		progressbar.OptionShowBytes(true),
		progressbar.OptionShowCount(),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionFullWidth(),
		progressbar.OptionClearOnFinish(),
		progressbar.OptionSetDescription(d.title()),
	)
	return d
}

func (d *display) title() string {
	if d.files == 1 {
		return ""
	}
	return fmt.Sprintf("%d/%d files", d.done, d.files)
}

// track returns what moves the bar as src is uploaded.
func (d *display) track(src *client.Source) func(client.Progress) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if src.Size < 0 {
		d.total = -1
	}
	if d.total >= 0 {
		d.total += src.Size
	}
	if d.bar != nil {
		d.bar.ChangeMax64(d.total)
	}
	var before int64
	return func(p client.Progress) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.received += p.Received - before
		before = p.Received
		if d.bar != nil {
			d.bar.Set64(d.received)
		}
	}
}

func (d *display) fileDone() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.done++
	if d.bar != nil {
		d.bar.Describe(d.title())
	}
}

// say prints a line of news, which -quiet keeps away.
func (d *display) say(format string, args ...any) {
	if !d.quiet {
		d.warn(format, args...)
	}
}

// warn prints a line whatever the flags say.
func (d *display) warn(format string, args ...any) {
	d.print(d.w, "wsput: "+fmt.Sprintf(format, args...))
}

// print writes a line to w, with the bar out of the way.
func (d *display) print(w io.Writer, line string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.bar != nil {
		d.bar.Clear()
	}
	fmt.Fprintln(w, line)
	if d.bar != nil {
		d.bar.RenderBlank()
	}
}

// close takes the bar away.
func (d *display) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.bar != nil {
		d.bar.Clear()
		d.bar = nil
	}
}
