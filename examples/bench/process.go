package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

// process is a child that is asked and answers line by line.
type process struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   *bufio.Reader
	bound *time.Timer
}

// start starts a child, in a network of its own if its job has a link. It is
// killed when the harness is interrupted.
func (c config) start(j job) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	j.Profile, j.Caddy = c.profile, c.caddy
	what, err := json.Marshal(j)
	if err != nil {
		return nil, err
	}
	p := &process{cmd: exec.CommandContext(c.ctx, self, asChild, string(what))}
	p.cmd.Stderr = os.Stderr
	if j.Link != nil {
		j.Link.isolate(p.cmd)
	}
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = bufio.NewReader(out)
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	p.bound = time.AfterFunc(c.bound, func() { p.cmd.Process.Kill() })
	return p, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// line returns the child's next line; its own words are on standard error.
func (p *process) line() (string, error) {
	s, err := p.out.ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("it ended early: %w", err)
	}
	return s[:len(s)-1], nil
}

func (p *process) ask(question, answer any) error {
	if _, err := fmt.Fprintln(p.in, question); err != nil {
		return err
	}
	s, err := p.line()
	if err != nil {
		return err
	}
	return json.Unmarshal([]byte(s), answer)
}

// end closes the child's standard input, which has it end.
func (p *process) end() {
	p.in.Close()
	p.cmd.Wait()
	p.bound.Stop()
}
