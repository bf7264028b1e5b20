// Command bench measures how uploads do: over loopback into a file, over long
// and lossy paths, on thousands of connections, as thousands of small files,
// beside what people use otherwise. README.md says what the rows mean. It
// needs Linux: what a process costs is read from /proc.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"syscall"
	"time"
)

// config is what the command line says.
type config struct {
	size        int64 // bytes of an upload over loopback
	rounds      int
	files       int64         // small files in a run
	connections []int         // at a time
	window      time.Duration // for which these are watched
	routes      []route
	pathRounds  int
	transfer    time.Duration // that an upload over a path takes
	uploads     int           // in the large directory
	looks       int           // opens timed in it
	congestion  string
	rows        *regexp.Regexp
	dir         string
	out         string
	keep        string
	caddy       string
	profile     string
	json        bool

	bound time.Duration // how long a child may live
	ctx   context.Context
}

func main() {
	if len(os.Args) == 3 && os.Args[1] == asChild {
		exitOn(runChild(os.Args[2]))
		return
	}
	c, err := parseFlags()
	exitOn(err)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	context.AfterFunc(ctx, stop) // a second signal ends it without cleaning up
	c.ctx = ctx
	exitOn(c.run())
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// The two forms of a run. The short one says whether everything works, and
// roughly how it compares.
var (
	long = config{
		size: 1 << 30, rounds: 7, files: 10_000,
		connections: []int{1, 10, 100, 1000, 5000}, window: 2 * time.Second,
		routes: longRoutes, pathRounds: 3, transfer: 10 * time.Second,
		uploads: 100_000, looks: 300, bound: 10 * time.Minute,
	}
	short = config{
		size: 256 << 20, rounds: 1, files: 1000,
		connections: []int{10, 1000}, window: time.Second / 2,
		routes: shortRoutes, pathRounds: 1, transfer: 4 * time.Second,
		uploads: 2000, looks: 50, bound: time.Minute,
	}
)

func parseFlags() (c config, err error) {
	c = long
	if slices.Contains(os.Args[1:], "-short") || slices.Contains(os.Args[1:], "--short") {
		c = short // its values are the defaults of the flags then
	}
	small := flag.Bool("short", false, "less than two minutes in all: fewer rounds, paths and connections, and smaller uploads")
	size := flag.Int64("size", c.size>>20, "MiB of each upload over loopback")
	flag.IntVar(&c.rounds, "rounds", c.rounds, "undisturbed rounds wanted over loopback")
	flag.IntVar(&c.pathRounds, "path-rounds", c.pathRounds, "rounds over shaped paths")
	flag.Int64Var(&c.files, "files", c.files, "small files in a run")
	flag.DurationVar(&c.window, "window", c.window, "how long many connections are watched")
	flag.DurationVar(&c.transfer, "transfer", c.transfer, "how long an upload over a shaped path takes, about")
	flag.IntVar(&c.uploads, "uploads", c.uploads, "uploads in the large directory")
	flag.StringVar(&c.congestion, "congestion", "cubic", "congestion control over shaped paths")
	rows := flag.String("rows", "", "only what has a key that matches this regular expression; empty: all (README.md has the keys)")
	flag.StringVar(&c.dir, "dir", os.TempDir(), "directory for the files, on the disk to measure")
	flag.StringVar(&c.out, "out", "", "directory whose README.md gets the tables, between its marks, and that results.svg is written to; empty: this one for a full run without -rows, else none")
	flag.StringVar(&c.keep, "keep", "", "file that results are kept in: what is in it is not measured again, so that a run can be done in parts (-rows)")
	flag.StringVar(&c.caddy, "caddy", "", "a Caddy with the module; empty: build one")
	flag.StringVar(&c.profile, "profile", "", "directory for a CPU profile of the server and the client of every row, that of its last run")
	flag.BoolVar(&c.json, "json", false, "print all that was measured as JSON in place of the tables")
	flag.Parse()
	if *size < 1 || c.rounds < 1 || c.pathRounds < 1 || c.files < 1 || c.uploads < 1 || c.window <= 0 || c.transfer <= 0 || flag.NArg() > 0 {
		return c, fmt.Errorf("numbers are 1 or more, and there are no arguments (see -help)")
	}
	c.size = *size << 20
	if c.out == "" && *rows == "" && !*small && !c.json {
		c.out = here
	}
	c.rows, err = regexp.Compile(*rows)
	return c, err
}

// here is where a full run puts its results, and project has the README.md that
// shows the most important of them.
const here, project = ".", "../.."

func (c config) stopped() bool { return c.ctx.Err() != nil }

// run measures everything and prints it. It fails when something could not be
// measured, not when it was slow.
func (c config) run() (err error) {
	if c.dir, err = os.MkdirTemp(c.dir, "wsingest-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(c.dir)
	if c.profile != "" {
		if err := os.MkdirAll(c.profile, 0o755); err != nil {
			return err
		}
	}
	if c.out != "" {
		if err := writable(c.out); err != nil {
			return err // now, and not when everything is measured
		}
	}
	if c.caddy == "" && c.needsCaddy() {
		if c.caddy, err = buildCaddy(c.ctx, c.dir); err != nil {
			return err
		}
	}
	r, err := c.kept()
	if err != nil {
		return err
	}
	r.Machine = c.machine()
	c.measureAll(r)
	if c.keep != "" {
		err = r.writeJSON(c.keep)
	}
	if c.stopped() {
		return errors.Join(err, errInterrupted)
	}
	if c.json {
		err = errors.Join(err, json.NewEncoder(os.Stdout).Encode(r))
	} else {
		err = errors.Join(err, r.print(os.Stdout))
	}
	if c.out != "" {
		err = errors.Join(err, r.write(c.out))
	}
	if c.out == here {
		err = errors.Join(err, replaceIn(project, r.summary()))
	}
	return errors.Join(err, r.failed())
}

// errInterrupted: what was measured is in the file of -keep, if there is one.
var errInterrupted = errors.New("interrupted before everything was measured; nothing is printed (with -keep, the same command goes on where it stopped)")

func (c config) needsCaddy() bool {
	for _, r := range rows {
		if r.caddy && c.rows.MatchString(r.key) {
			return true
		}
	}
	return slices.ContainsFunc(c.routes, func(r route) bool {
		return slices.Contains(r.rows, h2Row) && c.rows.MatchString(r.key(h2Row))
	})
}
