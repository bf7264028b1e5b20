// Command quickstart serves a page on which files can be dropped, and takes
// them in with wsingest: an upload survives a lost connection, a reload of the
// page and a restart of the server.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/dustin/go-humanize"

	"github.com/wsingest/wsingest/middleware"
	"github.com/wsingest/wsingest/middleware/protocol"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	c, err := parse(os.Args[1:], os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return
	case err != nil:
		os.Exit(2) // package flag has said why
	}
	if err := run(ctx, c, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

// config is what the flags say.
type config struct {
	addr    string
	dir     string
	maxSize int64 // in bytes; 0: no bound
	debug   bool

	keepalive middleware.Keepalive // no flag: the defaults are right
}

func parse(args []string, usage io.Writer) (c config, err error) {
	f := flag.NewFlagSet("quickstart", flag.ContinueOnError)
	f.SetOutput(usage)
	f.StringVar(&c.addr, "addr", "127.0.0.1:8080", "listen on this `host:port`")
	f.StringVar(&c.dir, "dir", "uploads", "keep unfinished uploads in `directory`/incoming, finished files in directory/files")
	f.Func("max-size", "refuse files larger than this `size`, such as 500MB or 2GiB (default no bound)", func(s string) error {
		n, err := humanize.ParseBytes(s)
		if err != nil || n > protocol.MaxPosition {
			return errors.New("expected a size such as 500MB or 2GiB")
		}
		c.maxSize = int64(n)
		return nil
	})
	f.BoolVar(&c.debug, "debug", false, "log every ack and every event of a connection")
	if err := f.Parse(args); err != nil {
		return c, err
	}
	if f.NArg() > 0 {
		err := fmt.Errorf("unexpected argument %q", f.Arg(0))
		fmt.Fprintln(usage, err)
		f.Usage()
		return c, err
	}
	return c, nil
}

// run serves until ctx ends, and says where on stdout.
func run(ctx context.Context, c config, stdout io.Writer) (err error) {
	log := newLogger(c.debug)
	defer log.Sync()
	s, err := newServer(c, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	l, err := net.Listen("tcp", c.addr)
	if err != nil {
		return fmt.Errorf("cannot listen on %s: %w: choose another address with -addr", c.addr, reason(err))
	}
	fmt.Fprintf(stdout, "Upload files at %s\n", pageURL(l.Addr()))
	return s.serve(ctx, l)
}

// reason strips what the caller says better.
func reason(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Err
	}
	return err
}

// pageURL is where a browser on this machine finds the page.
func pageURL(a net.Addr) string {
	host, port, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String()
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return "http://" + net.JoinHostPort(host, port) + "/"
}
