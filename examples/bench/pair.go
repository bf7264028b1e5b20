package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// pair is a server and a client of a row, each a process of its own.
type pair struct {
	server, client *process
	dir            string
	wire           *link // between them; nil: loopback
}

// begin starts both ends of a row over p; the zero path is loopback.
func (c config) begin(r row, p path) (_ *pair, err error) {
	t := &pair{}
	defer func() {
		if err != nil {
			t.end()
		}
	}()
	if t.dir, err = os.MkdirTemp(c.dir, r.key+"-"); err != nil {
		return t, err
	}
	unix.Sync() // what earlier rows left to be written is not this row's
	server := job{Role: "server", Row: r.key, Dir: t.dir, Addr: "127.0.0.1:0"}
	client := job{Role: "client", Row: r.key}
	if p.shaped() {
		if t.wire, err = newLink(p, c.congestion); err != nil {
			return t, err
		}
		server.Link, client.Link = t.wire.ends[0], t.wire.ends[1]
		server.Addr = server.Link.Addr + ":0"
	}
	if t.server, err = c.start(server); err != nil {
		if t.wire != nil {
			err = fmt.Errorf("%w: %v", errNoNetwork, err)
		}
		return t, err
	}
	if t.wire != nil {
		if err := server.Link.receive(); err != nil {
			return t, fmt.Errorf("server: %w", err)
		}
	}
	if client.Addr, err = t.server.line(); err != nil {
		return t, fmt.Errorf("server: %w", err)
	}
	if t.client, err = c.start(client); err != nil {
		return t, err
	}
	if t.wire != nil {
		if err := client.Link.receive(); err != nil {
			return t, fmt.Errorf("client: %w", err)
		}
		t.wire.run()
	}
	return t, nil
}

// send has the client make one upload.
func (t *pair) send(size int64) (s span, err error) {
	if err := t.client.ask(size, &s); err != nil {
		return s, fmt.Errorf("client: %w", err)
	}
	return s, nil
}

func (t *pair) ledger(question string) (e entry, err error) {
	if err := t.server.ask(question, &e); err != nil {
		return e, fmt.Errorf("server: %w", err)
	}
	return e, nil
}

// pids returns all processes that belong to the row, the harness included.
func (t *pair) pids() []int {
	return append(family(t.server.pid()), os.Getpid(), t.client.pid())
}

func (t *pair) end() {
	for _, p := range []*process{t.client, t.server} {
		if p != nil {
			p.end()
		}
	}
	if t.wire != nil {
		t.wire.close()
	}
	if t.dir != "" {
		os.RemoveAll(t.dir)
	}
}
