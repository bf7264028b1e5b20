package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/wsingest/wsingest/resume/client"
)

// config is what the command line says.
type config struct {
	files []string
	url   string

	name, typ, id string
	quiet, json   bool
	options       client.Options
}

const usage = `Usage: wsput [flags] FILE... URL

Uploads files to a wsingest server, and goes on where it was when interrupted.
A FILE of - is the standard input. The URL is that of the upload route, such as
wss://example.org/upload/ (ws, wss, http, https).

`

const exitHelp = `
A server that wants a ticket gets the one in the environment variable
WSINGEST_TICKET.

Exit codes: 0 all uploaded, 1 failed for good, 2 wrong usage, 3 interrupted and
resumable by the same command, 4 rejected by the server or the app behind it,
5 a file has changed meanwhile, 6 the server's bytes differ from those sent,
7 another program took the upload over.
`

// parse reads the command line. It has printed the help when the error is
// flag.ErrHelp.
func parse(args []string, stderr io.Writer) (*config, error) {
	c := &config{}
	fs := flag.NewFlagSet("wsput", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	var headers headerFlag
	insecure := fs.Bool("insecure", false, "accept any certificate")
	cacert := fs.String("cacert", "", "trust the certificates in `FILE` (PEM) instead of the system's")
	fs.BoolVar(&c.options.WantDigest, "digest", false, "compare and print the SHA-256 that the server computed")
	fs.IntVar(&c.options.Lanes, "lanes", 1, "connections for one large file: `N` from 1 to 16")
	fs.StringVar(&c.name, "name", "", "`NAME` of the file for the server (one FILE only)")
	fs.StringVar(&c.typ, "type", "", "media `TYPE` (default: by the name's extension)")
	fs.StringVar(&c.id, "id", "", "`ID` of the upload (one FILE only): the way to resume a stream")
	fs.DurationVar(&c.options.Retry.GiveUpAfter, "retry", client.DefaultGiveUpAfter, "go on trying for so long without progress; negative: for ever. An app that takes its time, or is down, is waited for beyond that: the server tries again by itself")
	fs.BoolVar(&c.json, "json", false, "a line of JSON for each file, nothing else, on stdout")
	fs.BoolVar(&c.quiet, "quiet", false, "print errors only")
	fs.StringVar(&c.options.StateDir, "state-dir", defaultStateDir(), "unfinished uploads are remembered in `DIR`; empty: nowhere")
	fs.Var(&headers, "header", "'`K: V`' goes with the handshake; may be repeated")
	err := fs.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(stderr, usage)
		fs.SetOutput(stderr)
		fs.PrintDefaults()
		fmt.Fprint(stderr, exitHelp)
		return nil, err
	}
	if err != nil {
		return nil, err
	}
	c.options.Header = http.Header(headers)
	if c.options.TLSConfig, err = tlsConfig(*insecure, *cacert); err != nil {
		return nil, err
	}
	if fs.NArg() < 2 {
		return nil, errors.New("expected at least one FILE and the URL")
	}
	c.files, c.url = fs.Args()[:fs.NArg()-1], fs.Arg(fs.NArg()-1)
	return c, c.check()
}

func (c *config) check() error {
	if len(c.files) > 1 && (c.name != "" || c.id != "") {
		return errors.New("-name and -id are for one FILE")
	}
	if !strings.Contains(c.url, "://") {
		return fmt.Errorf("the last argument is %q, expected the URL, such as ws://localhost:8080/upload/", c.url)
	}
	if n := c.options.Lanes; n < 1 || n > client.MaxLanes {
		return fmt.Errorf("-lanes %d, expected 1 to %d", n, client.MaxLanes)
	}
	stdin := 0
	for _, f := range c.files {
		if f == "-" {
			stdin++
		}
	}
	if stdin > 1 {
		return errors.New("the standard input can be uploaded once only")
	}
	return nil
}

func tlsConfig(insecure bool, cacert string) (*tls.Config, error) {
	if insecure {
		return &tls.Config{InsecureSkipVerify: true}, nil
	}
	if cacert == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(cacert)
	if err != nil {
		return nil, fmt.Errorf("-cacert: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("-cacert: %s has no certificate in PEM form", cacert)
	}
	return &tls.Config{RootCAs: pool}, nil
}

func defaultStateDir() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "wsput")
}

// headerFlag collects -header.
type headerFlag http.Header

func (h *headerFlag) String() string { return "" }

func (h *headerFlag) Set(s string) error {
	k, v, ok := strings.Cut(s, ":")
	if k = strings.TrimSpace(k); !ok || k == "" {
		return fmt.Errorf("expected 'Name: value'")
	}
	if *h == nil {
		*h = headerFlag{}
	}
	http.Header(*h).Add(k, strings.TrimSpace(v))
	return nil
}

// pause prints a duration as a person would say it.
func pause(d time.Duration) string {
	if d < time.Second {
		return "a moment"
	}
	return d.Round(time.Second).String()
}
