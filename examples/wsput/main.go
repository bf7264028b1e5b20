// Wsput uploads files to a wsingest server, over one WebSocket connection, and
// goes on where it was when it is interrupted.
//
//	wsput [flags] FILE... URL
//
// A FILE of - is the standard input. The URL is that of the upload route: ws,
// wss, http or https.
//
//	wsput video.mp4 wss://example.org/upload/
//	wsput -digest -header 'Authorization: Bearer ...' *.iso wss://example.org/upload/
//	tar c photos | wsput -name photos.tar - wss://example.org/upload/
//
// Interrupted by Ctrl-C, by a crash, or by a server that stays away for longer
// than -retry, the same command later goes on with what is not done yet. Before
// it does, it makes sure that the file is still the same.
//
// # Flags
//
//	-digest         compare and print the SHA-256 that the server computed
//	-lanes N        connections for one large file, 1 to 16 (default 1)
//	-name NAME      name of the file for the server (one FILE only)
//	-type TYPE      media type (default: by the name's extension)
//	-id ID          id of the upload (one FILE only): the way to resume a stream
//	-header 'K: V'  goes with the handshake; may be repeated
//	-retry D        go on trying for so long without progress (default 15m)
//	-json           a line of JSON for each file, nothing else, on stdout
//	-quiet          print errors only
//	-insecure       accept any certificate
//	-cacert FILE    trust the certificates in FILE (PEM) instead of the system's
//	-state-dir DIR  where unfinished uploads are remembered (default: wsput in
//	                the user's cache directory; empty: they are not)
//
// # Exit codes
//
//	0  all files are uploaded
//	1  failed for good
//	2  wrong usage
//	3  interrupted, or gave up for now: the same command goes on
//	4  rejected: by the server's rules, or by the app behind it
//	5  a file has changed since its upload began, or while it went on; the same
//	   command uploads it anew
//	6  the server's bytes differ from those that were sent
//	7  another program has taken over the upload of the same file
//
// With several files it is the code of the first that failed with something
// else than 3, and 3 if there is none.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	cfg, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return exitOK
	}
	if err != nil {
		fmt.Fprintf(stderr, "wsput: %v\nwsput -help says more.\n", err)
		return exitUsage
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	context.AfterFunc(ctx, stop) // the second Ctrl-C finds nobody who handles it

	p, err := newPut(cfg, stdin, stdout, stderr)
	if err != nil {
		fmt.Fprintf(stderr, "wsput: %v\n", err)
		return exitUsage
	}
	return p.all(ctx)
}
