package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"runtime/pprof"
	"time"
)

// asChild is the first argument of a process that is one end of a row; the
// second is its job.
const asChild = "child"

// job is what a child has to do, as JSON.
type job struct {
	Role    string // server, client or directory
	Row     string // key of the row
	Dir     string // server, directory: where its files are
	Addr    string // server: where to listen; client: the server
	Caddy   string // the executable, for rows that need it
	Profile string // directory for CPU profiles; empty: none
	Link    *end   // the shaped path that this child is an end of; nil: loopback
	Uploads int    // directory: how many it holds
	Looks   int    // directory: how many uploads are opened and timed
}

func runChild(arg string) error {
	var j job
	if err := json.Unmarshal([]byte(arg), &j); err != nil {
		return fmt.Errorf("a child's job: %w", err)
	}
	if j.Link != nil {
		if err := j.Link.join(); err != nil {
			return fmt.Errorf("the network of its own: %w", err)
		}
	}
	if j.Profile != "" {
		f, err := os.Create(filepath.Join(j.Profile, j.Row+"-"+j.Role+".prof"))
		if err != nil {
			return err
		}
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	if j.Role == "directory" {
		return j.beDirectory()
	}
	r, err := rowOf(j.Row)
	switch {
	case err != nil:
		return err
	case j.Role == "server":
		return r.beServer(j)
	case r.load != nil:
		return r.load(j.Addr, bufio.NewScanner(os.Stdin), json.NewEncoder(os.Stdout))
	}
	return r.beClient(j.Addr)
}

func rowOf(key string) (row, error) {
	for _, r := range rows {
		if r.key == key {
			return r, nil
		}
	}
	return row{}, fmt.Errorf("no row %q", key)
}

// beServer says where it listens, then answers each line on its standard input
// with its ledger, and ends with it. To "settle" it first hands back the memory
// it does not use.
func (r row) beServer(j job) error {
	l, err := net.Listen("tcp", j.Addr)
	if err != nil {
		return err
	}
	failed := make(chan error, 1)
	go func() { failed <- r.serve(l, j) }()
	fmt.Println(l.Addr())
	asked := make(chan string)
	go func() {
		for in := bufio.NewScanner(os.Stdin); in.Scan(); {
			asked <- in.Text()
		}
		close(asked)
	}()
	for {
		select {
		case err := <-failed:
			return err
		case what, ok := <-asked:
			if !ok {
				return nil
			}
			if what == "settle" {
				debug.FreeOSMemory()
			}
			json.NewEncoder(os.Stdout).Encode(written.read())
		}
	}
}

// span is when a transfer began and ended, in Unix nanoseconds; over a shaped
// path also when the other end's kernel had half of it.
type span struct{ Start, Half, End int64 }

func (s span) seconds() float64 { return float64(s.End-s.Start) / 1e9 }

// beClient makes an upload for every line, which says how large.
func (r row) beClient(addr string) error {
	for {
		var size int64
		if _, err := fmt.Scanln(&size); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		half := halfway(size / 2)
		t := span{Start: time.Now().UnixNano()}
		if err := r.send(addr, size); err != nil {
			return err
		}
		t.End = time.Now().UnixNano()
		t.Half = half()
		if err := json.NewEncoder(os.Stdout).Encode(t); err != nil {
			return err
		}
	}
}
