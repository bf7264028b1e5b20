// Conformance plays the situations of wsingest.v1 that a client can get wrong,
// one case each, against a client, and says what it did wrong.
//
//	conformance [flags] -- COMMAND {file} {url}
//
// runs COMMAND once for each case, with the path of a file and the URL to upload
// it to. Exit code 0 of it means that it takes the upload for done. Without a
// command
//
//	conformance [flags]
//
// serves the cases for clients that are no commands, such as pages: README.md
// says how, and has the cases as a checklist.
//
// The exit code is 0 when nothing was wrong, 1 when something was, 2 when it could
// not be tried.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"time"
)

const (
	exitOK = iota
	exitWrong
	exitUsage
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	context.AfterFunc(ctx, stop) // the second Ctrl-C ends it at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// config is what the command line says.
type config struct {
	addr, cases, stream string
	abreast             int
	within              time.Duration
	strict, verbose     bool
	list                bool
	command             []string
}

func parse(args []string, stderr io.Writer) (c config, err error) {
	f := flag.NewFlagSet("conformance", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.Usage = func() {
		fmt.Fprint(stderr, "Usage: conformance [flags] [-- COMMAND {file} {url}]\n\n"+
			"Plays the situations of wsingest.v1 against a client: a command that is run\n"+
			"for each of them, or, without one, whoever asks for them over HTTP.\n\n")
		f.PrintDefaults()
	}
	f.StringVar(&c.addr, "addr", "127.0.0.1:0", "listen on this `host:port`; port 0: a free one")
	f.StringVar(&c.cases, "run", "", "only the cases whose name matches this `expression`")
	f.StringVar(&c.stream, "stream", "", "`command` for the cases about streams, such as 'client - {url}': it gets the bytes on stdin")
	f.IntVar(&c.abreast, "abreast", 8, "`number` of cases that are played at a time")
	f.DurationVar(&c.within, "within", 45*time.Second, "how long a command may take for a case")
	f.BoolVar(&c.strict, "strict", false, "what is only recommended (SHOULD) counts as wrong, too")
	f.BoolVar(&c.verbose, "v", false, "print what went over the wire in cases that went wrong")
	f.BoolVar(&c.list, "list", false, "print the checklist and exit")
	if err := f.Parse(args); err != nil {
		return c, err
	}
	c.command = f.Args()
	switch {
	case c.abreast < 1:
		err = errors.New("-abreast is 1 or more")
	case len(c.command) > 0 && !strings.Contains(strings.Join(c.command, " "), "{url}"):
		err = errors.New("the command has no {url}: it would not know where to upload to")
	}
	if err != nil {
		fmt.Fprintf(stderr, "conformance: %v\n", err)
	}
	return c, err
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	c, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		return exitUsage
	case c.list:
		checklist(stdout)
		return exitOK
	}
	code, err := c.play(ctx, stdout)
	if err != nil {
		fmt.Fprintf(stderr, "conformance: %v\n", err)
		return exitUsage
	}
	return code
}

// play serves the cases, and runs the command, if there is one.
func (c config) play(ctx context.Context, stdout io.Writer) (int, error) {
	cases, err := matching(c.cases)
	if err != nil {
		return 0, err
	}
	l, err := net.Listen("tcp", c.addr)
	if err != nil {
		return 0, err
	}
	out := &report{out: stdout, strict: c.strict, verbose: c.verbose}
	s := &server{told: out.one}
	web := &http.Server{Handler: s.handler()}
	defer web.Close()
	go web.Serve(l)
	if len(c.command) == 0 {
		fmt.Fprintf(stdout, "Clients begin with a POST to http://%s/runs\n", l.Addr())
		<-ctx.Done()
		return exitOK, nil
	}
	r := newRound(cases)
	cmd := &command{file: c.command, within: c.within, abreast: c.abreast, progress: out.one,
		base: fmt.Sprintf("ws://%s/runs/%d", l.Addr(), s.add(r))}
	if c.stream != "" {
		cmd.stream = strings.Fields(c.stream)
	}
	if err := cmd.all(ctx, r); err != nil {
		return 0, err
	}
	all := r.results()
	for _, res := range all {
		if r.play(res.Name).c.pooled {
			out.one(res)
		}
	}
	return out.sum(all), nil
}
