package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/resume/client"
)

// atOnce is how many files are on their way at a time. They share one
// connection and go one after the other; this is how many may wait for the
// server's last word.
const atOnce = 128

// put uploads the files of one command line.
type put struct {
	cfg    *config
	client *client.Client
	stdin  io.Reader
	bar    *display

	mu    sync.Mutex
	codes []int // by file
	out   *json.Encoder
	text  io.Writer
}

// report is what -json prints of one file.
type report struct {
	File        string  `json:"file"`
	ID          string  `json:"id,omitempty"`
	Name        string  `json:"name"`
	Bytes       int64   `json:"bytes"`
	SHA256      string  `json:"sha256,omitempty"` // hex, as the server computed it
	Seconds     float64 `json:"seconds"`
	ResumedFrom int64   `json:"resumed-from"` // bytes the server had before
	Status      int     `json:"status,omitempty"`
	Body        string  `json:"body,omitempty"` // what the app answered
	Location    string  `json:"location,omitempty"`
	Error       string  `json:"error,omitempty"`
	Resumable   bool    `json:"resumable,omitempty"`
}

func newPut(cfg *config, stdin io.Reader, stdout, stderr io.Writer) (*put, error) {
	p := &put{cfg: cfg, stdin: stdin, text: stdout, out: json.NewEncoder(stdout), codes: make([]int, len(cfg.files))}
	p.bar = newDisplay(stderr, cfg.quiet || cfg.json, len(cfg.files))
	cfg.options.Retry.OnRetry = func(err error, d time.Duration) {
		p.bar.say("%v; trying again in %s", err, pause(d))
	}
	var err error
	p.client, err = client.New(cfg.url, cfg.options)
	return p, err
}

// all uploads every file and returns the exit code.
func (p *put) all(ctx context.Context) int {
	next := make(chan int)
	var workers sync.WaitGroup
	for range min(atOnce, len(p.cfg.files)) {
		workers.Go(func() {
			for i := range next {
				p.codes[i] = p.file(ctx, p.cfg.files[i])
			}
		})
	}
	finished := context.AfterFunc(ctx, func() {
		p.bar.say("interrupted: leaving in good order, a second Ctrl-C kills")
	})
	for i := range p.cfg.files {
		next <- i
	}
	close(next)
	workers.Wait()
	finished()
	p.client.Close()
	p.bar.close()
	code := worst(p.codes)
	if code == exitResumable {
		p.bar.warn("not done. Run the same command again to go on from here.")
	}
	return code
}

// file uploads one file, prints what came of it, and returns its exit code.
func (p *put) file(ctx context.Context, path string) int {
	began := time.Now()
	src, err := p.open(path)
	if err != nil {
		return p.failed(report{File: path, Name: filepath.Base(path)}, err, false)
	}
	defer src.Close()
	rep := report{File: path, Name: src.Name}
	track := p.bar.track(src)
	src.OnProgress = func(now client.Progress) { track(now); rep.Bytes = now.Durable }
	r, err := p.client.Upload(ctx, src)
	rep.Seconds = time.Since(began).Seconds()
	if err != nil {
		return p.failed(rep, err, path != "-" && p.cfg.options.StateDir != "" || src.ID != "")
	}
	p.bar.fileDone()
	rep.ID, rep.Bytes, rep.ResumedFrom, rep.Location = r.ID, r.Length, r.ResumedFrom, r.Location
	rep.SHA256 = hex.EncodeToString(r.SHA256)
	if r.Response != nil {
		rep.Status, rep.Body = r.Response.Status, r.Response.Body
	}
	p.print(rep)
	return exitOK
}

func (p *put) open(path string) (*client.Source, error) {
	var src *client.Source
	if path == "-" {
		src = client.FromReader(p.stdin, client.UnknownSize)
		src.Name = "stdin"
	} else {
		var err error
		if src, err = client.OpenFile(path); err != nil {
			return nil, err
		}
	}
	if p.cfg.name != "" {
		src.Name, src.Type = p.cfg.name, mime.TypeByExtension(filepath.Ext(p.cfg.name))
	}
	if p.cfg.typ != "" {
		src.Type = p.cfg.typ
	}
	src.ID, src.Ticket = p.cfg.id, os.Getenv("WSINGEST_TICKET") // an argument would be everybody's to see
	return src, nil
}

// failed prints an error and returns its exit code. remembered: the same
// command finds the upload again.
func (p *put) failed(rep report, err error, remembered bool) int {
	code := exitCode(err, remembered)
	rep.Error, rep.Resumable = err.Error(), code == exitResumable
	var server *protocol.Error
	if errors.As(err, &server) && server.Response != nil {
		rep.Status, rep.Body = server.Response.Status, server.Response.Body
	}
	if p.cfg.json {
		p.print(rep)
	} else if code != exitResumable || len(p.cfg.files) == 1 {
		p.bar.warn("%s", rep.complaint(err))
	}
	return code
}

// answered says what the app said to the file, if it said something.
func (r report) answered() string {
	if r.Status == 0 {
		return ""
	}
	return ", answered " + strings.TrimSpace(fmt.Sprintf("%d %s", r.Status, r.firstLine()))
}

// firstLine is of the app's answer.
func (r report) firstLine() string {
	line, _, _ := strings.Cut(strings.TrimSpace(r.Body), "\n")
	return strings.TrimSpace(line)
}

// complaint is what a person is told of an error: who interrupted knows why, and
// of the app's answer the status is in the error already.
func (r report) complaint(err error) string {
	if errors.Is(err, context.Canceled) {
		return r.File + ": interrupted"
	}
	if line := r.firstLine(); line != "" {
		return fmt.Sprintf("%v It said: %s", err, line)
	}
	return err.Error()
}

// print writes what came of one file to stdout.
func (p *put) print(rep report) {
	if p.cfg.json {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.out.Encode(rep)
		return
	}
	if p.cfg.quiet {
		return
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s in %.1f s", rep.File, size(rep.Bytes), rep.Seconds)
	if rep.ResumedFrom > 0 {
		fmt.Fprintf(&b, ", %s of it were there", size(rep.ResumedFrom))
	}
	if rep.Location != "" {
		fmt.Fprintf(&b, ", stored as %s", rep.Location)
	}
	b.WriteString(rep.answered())
	if rep.SHA256 != "" {
		fmt.Fprintf(&b, "\n%s  %s", rep.SHA256, rep.File)
	}
	p.bar.print(p.text, b.String())
}

// size prints a number of bytes.
func size(n int64) string {
	switch {
	case n < 1000:
		return fmt.Sprintf("%d B", n)
	case n < 1e6:
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	case n < 1e9:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	}
	return fmt.Sprintf("%.2f GB", float64(n)/1e9)
}
