package caddymodule_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// freePorts returns n ports for servers that come and go. They are from below
// those that systems give to outgoing connections (RFC 6335 has those at 49152
// and above, Linux at 32768), since one of these would take a server's port
// while it is down; and none is returned twice.
func freePorts(t testing.TB, n int) (ports []string) {
	t.Helper()
	for range 1000 {
		port := strconv.Itoa(firstPort + int(nextPort.Add(1)%portCount))
		l, err := net.Listen("tcp", ":"+port)
		if err != nil {
			continue // another program's
		}
		l.Close()
		if ports = append(ports, port); len(ports) == n {
			return ports
		}
	}
	t.Fatalf("found no %d free ports from %d to %d", n, firstPort, firstPort+portCount-1)
	return nil
}

const (
	firstPort = 20_000
	portCount = 12_000
)

// nextPort starts anywhere, so that two runs of the tests side by side do not
// look for ports in the same places.
var nextPort atomic.Uint32

func init() { nextPort.Store(rand.Uint32N(portCount)) }

// python is the one that sees the package websockets.
func python() string {
	if p := os.Getenv("WSINGEST_PYTHON"); p != "" {
		return p
	}
	return "/usr/bin/python3"
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func tail(s string, lines int) string {
	all := slices.DeleteFunc(strings.Split(strings.TrimSpace(s), "\n"), func(line string) bool {
		return strings.Contains(line, `"logger":"admin.api"`)
	})
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

func exitError(err error) (stderr string) {
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		return string(e.Stderr)
	}
	return ""
}
