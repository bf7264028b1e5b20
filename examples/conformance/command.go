package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// command is a client that uploads one file and exits: with 0 when it thinks that
// all is well.
type command struct {
	file     []string      // {file}, {url}, {dir} and {ticket} stand for what they say
	stream   []string      // the same, for a file that comes on stdin; nil: it cannot do that
	within   time.Duration // bound of one case
	abreast  int           // cases at a time
	base     string        // URL under which the run is served
	progress func(result)
}

// all plays every case of a run.
func (c *command) all(ctx context.Context, r *round) error {
	dir, err := os.MkdirTemp("", "conformance-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	next := make(chan *play)
	var workers sync.WaitGroup
	for range c.abreast {
		workers.Go(func() {
			for p := range next {
				v, err := c.one(ctx, filepath.Join(dir, p.c.Name), p)
				if err != nil {
					v = &verdict{Outcome: Skipped, Said: err.Error()}
				}
				p.mu.Lock()
				p.verdict = v
				p.mu.Unlock()
				if res := p.judge(0); !p.c.pooled {
					c.progress(res)
				}
			}
		})
	}
	for _, p := range r.plays {
		if ctx.Err() != nil {
			break
		}
		next <- p
	}
	close(next)
	workers.Wait()
	return ctx.Err()
}

// one runs the command for one case. No verdict: it did not end in time.
func (c *command) one(ctx context.Context, dir string, p *play) (*verdict, error) {
	argv := c.file
	if p.c.stream {
		argv = c.stream
	}
	if argv == nil {
		return &verdict{Outcome: Skipped, Said: "there is no -stream command"}, nil
	}
	if p.c.ticket && !strings.Contains(strings.Join(argv, " "), "{ticket}") {
		return &verdict{Outcome: Skipped, Said: "the command has no {ticket}"}, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "file.bin")
	if err := os.WriteFile(path, p.file, 0o600); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.within)
	defer cancel()
	fill := strings.NewReplacer("{file}", path, "{url}", c.base+"/"+p.c.Name+"/upload", "{dir}", filepath.Join(dir, "state"), "{ticket}", given)
	args := make([]string, len(argv))
	for i, arg := range argv {
		args[i] = fill.Replace(arg)
	}
	var said bytes.Buffer
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &said, &said, time.Second
	if p.c.stream {
		cmd.Stdin = bytes.NewReader(p.file)
	}
	err := cmd.Run()
	v := &verdict{Outcome: Success, Said: strings.TrimSpace(said.String())}
	switch {
	case ctx.Err() != nil:
		p.mu.Lock()
		p.note(nil, "the client is stopped; it had said: %s", v.Said)
		p.mu.Unlock()
		return nil, nil
	case cmd.ProcessState == nil:
		return nil, fmt.Errorf("it cannot be run: %w", err)
	case err != nil:
		v.Outcome = Failure
	}
	return v, nil
}
