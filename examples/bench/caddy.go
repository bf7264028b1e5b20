package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
)

// inCaddy is a site whose uploads end in the module.
const inCaddy = `	ws_ingest /upload/* {
		store file %q
	}
	respond 204
`

// toBackend is a site that passes everything on. The address is the backend's.
const toBackend = "	reverse_proxy %s\n"

// serveCaddy is Caddy with a module of ours, and nothing behind it but an
// answer.
func serveCaddy(l net.Listener, j job) error {
	return runCaddy(l, j, fmt.Sprintf(inCaddy, filepath.Join(j.Dir, "uploads")))
}

// serveBehindCaddy is a Caddy that has a server behind it, on a port of its own.
func serveBehindCaddy(serve func(net.Listener, job) error) func(net.Listener, job) error {
	return func(l net.Listener, j job) error {
		backend, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		failed := make(chan error, 2)
		go func() { failed <- serve(backend, j) }()
		go func() { failed <- runCaddy(l, j, fmt.Sprintf(toBackend, backend.Addr())) }()
		return <-failed
	}
}

// runCaddy runs Caddy with one site on the socket of l, so that clients can
// connect before it is up. Everything but HTTP/3 is on, HTTP/2 without TLS
// too; the log and the admin endpoint are off. It ends with this process.
func runCaddy(l net.Listener, j job, site string) error {
	config := filepath.Join(j.Dir, "Caddyfile")
	text := "{\n\tadmin off\n\tlog {\n\t\tlevel ERROR\n\t}\n\tservers {\n\t\tprotocols h1 h2c\n\t}\n}\n" +
		"http:// {\n\tbind fd/3\n" + site + "}\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return err
	}
	socket, err := l.(*net.TCPListener).File()
	if err != nil {
		return err
	}
	cmd := exec.Command(j.Caddy, "run", "--adapter", "caddyfile", "--config", config)
	cmd.ExtraFiles = []*os.File{socket}
	cmd.Stderr = os.Stderr
	cmd.Env = append(os.Environ(), "XDG_DATA_HOME="+j.Dir, "XDG_CONFIG_HOME="+j.Dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	runtime.LockOSThread() // Pdeathsig goes by the thread that starts it
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("caddy: %w", err)
	}
	return fmt.Errorf("caddy ended")
}

// buildCaddy builds Caddy with the module from the tree this program is
// built from.
func buildCaddy(ctx context.Context, dir string) (string, error) {
	say("building Caddy")
	list := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/wsingest/wsingest")
	list.Stderr = os.Stderr
	root, err := list.Output()
	if err != nil {
		return "", fmt.Errorf("looking for wsingest's tree (run this in examples/bench, or give -caddy): %w", err)
	}
	caddy := filepath.Join(dir, "caddy")
	build := exec.CommandContext(ctx, "go", "build", "-o", caddy, "./examples/caddy")
	build.Dir = string(root[:len(root)-1])
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return "", fmt.Errorf("building Caddy: %w", err)
	}
	return caddy, nil
}
