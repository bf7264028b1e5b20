package python

import (
	"archive/zip"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// onTerminal runs the rest of its arguments on a terminal, which it copies to
// its standard output.
const onTerminal = `
import os, pty, sys
sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))
`

// withoutTqdm hides what is installed.
const withoutTqdm = `
import sys
sys.modules["tqdm"] = None
import wsingest_cli
wsingest_cli.main()
`

// bars are the programs that draw one, and what it must have said at some time.
var bars = []struct {
	name    string
	program []string
	said    []string
}{
	{"tqdm", []string{"-m", "wsingest"}, []string{"file.bin: ", "% ", "/4.00M [", "B/s]"}},
	{"without tqdm", []string{"-c", withoutTqdm}, []string{"\rfile.bin ", " %  ", " MiB/s"}},
}

func TestDrawsABarOnATerminal(t *testing.T) {
	t.Parallel()
	for _, bar := range bars {
		t.Run(bar.name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			s.line.rate.Store(4 << 20)
			path, data := makeFile(t, 4<<20)
			args := slices.Concat([]string{"-c", onTerminal, interpreter()}, bar.program, []string{"--state-dir", "", path, s.url()})
			r := library{}.start(t, nil, args...)
			r.exits(t, exitOK)
			s.mustHave(t, "file.bin", data)
			for _, said := range bar.said {
				if !strings.Contains(r.stdout.String(), said) {
					t.Errorf("the terminal did not show %q: %q", said, &r.stdout)
				}
			}
			if last := path + ": 4194304 bytes\r\n"; !strings.HasSuffix(r.stdout.String(), last) {
				t.Errorf("it ended with %q, expected %q behind the bar", &r.stdout, last)
			}
		})
	}
}

// What goes to a file is no bar.
func TestDrawsNoBarElsewhere(t *testing.T) {
	s := newServer(t)
	path, _ := makeFile(t, 1<<20)
	r := library{}.start(t, nil, put(t, s, path)...)
	r.exits(t, exitOK)
	if strings.ContainsAny(r.stderr.String(), "\r%") {
		t.Errorf("it drew %q", &r.stderr)
	}
}

// build makes a wheel as pip install does.
const build = `
import setuptools.build_meta as backend, sys
print(backend.build_wheel(sys.argv[1]))
`

// The package has every module of this directory but plain.py, and nothing
// else; and what is unpacked of it works, from anywhere.
func TestThePackageIsWhole(t *testing.T) {
	t.Parallel()
	dir := copyOfSources(t)
	library{}.startIn(t, dir, nil, "-c", build, dir).exits(t, exitOK)
	wheels, _ := filepath.Glob(filepath.Join(dir, "*.whl"))
	if len(wheels) != 1 {
		t.Fatalf("wheels: %v", wheels)
	}
	site := t.TempDir()
	got, entry := unpack(t, wheels[0], site)
	want, _ := filepath.Glob("wsingest*.py")
	if !slices.Equal(got, want) {
		t.Errorf("the package has the modules %v, expected %v", got, want)
	}
	if !strings.Contains(entry, "wsingest = wsingest_cli:main") {
		t.Errorf("its commands are %q", entry)
	}
	s := newServer(t)
	path, data := makeFile(t, 1000)
	r := library{site}.startIn(t, t.TempDir(), nil, "-m", "wsingest", "--state-dir", "", path, s.url())
	r.exits(t, exitOK)
	s.mustHave(t, "file.bin", data)
}

func copyOfSources(t *testing.T) string {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(".")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// unpack returns the modules of a wheel, and its list of commands.
func unpack(t *testing.T, wheel, to string) (modules []string, commands string) {
	z, err := zip.OpenReader(wheel)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	for _, f := range z.File {
		p := read(t, f)
		switch {
		case strings.HasSuffix(f.Name, "entry_points.txt"):
			commands = string(p)
		case filepath.Ext(f.Name) == ".py":
			modules = append(modules, f.Name)
			if err := os.WriteFile(filepath.Join(to, filepath.Base(f.Name)), p, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	slices.Sort(modules)
	return modules, commands
}

func read(t *testing.T, f *zip.File) []byte {
	r, err := f.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var p bytes.Buffer
	if _, err := io.Copy(&p, r); err != nil {
		t.Fatal(err)
	}
	return p.Bytes()
}
