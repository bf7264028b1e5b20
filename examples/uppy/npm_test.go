package uppy

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"
)

const (
	oldestNode    = 18 // what esbuild runs on
	installWithin = 4 * time.Minute
)

// install gets the packages that package-lock.json names, unless they are there.
var install = sync.OnceValue(func() error {
	if err := findNode(); err != nil {
		return err
	}
	lock, err := os.ReadFile("package-lock.json")
	if err != nil {
		return err
	}
	stamp := filepath.Join("node_modules", ".installed") // of what npm ci has finished
	if there, err := os.ReadFile(stamp); err == nil && bytes.Equal(there, lock) {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), installWithin)
	defer cancel()
	if out, err := exec.CommandContext(ctx, "npm", "ci").CombinedOutput(); err != nil {
		return fmt.Errorf("npm ci: %w: does this machine reach an npm registry?\n%s", err, out)
	}
	return os.WriteFile(stamp, lock, 0o644)
})

func findNode() error {
	for _, tool := range []string{"node", "npm"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("no %s found: install Node.js and npm (apt-get install nodejs npm), the plugin is tested with the real Uppy", tool)
		}
	}
	out, err := exec.Command("node", "--version").Output()
	if err != nil {
		return fmt.Errorf("node --version: %w", err)
	}
	major, err := strconv.Atoi(string(regexp.MustCompile(`\d+`).Find(out)))
	if err != nil || major < oldestNode {
		return fmt.Errorf("Node.js %s is too old: install %d or later, the plugin is tested with the real Uppy", bytes.TrimSpace(out), oldestNode)
	}
	return nil
}

// bundle is the page of the tests, made for a browser, by file name.
var bundle = sync.OnceValues(func() (map[string][]byte, error) {
	if err := install(); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "uppy-page-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", "node_modules/esbuild/bin/esbuild", "testdata/page.js", "--bundle", "--format=esm", "--log-level=warning", "--outdir="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("esbuild: %w\n%s", err, out)
	}
	files := map[string][]byte{}
	for _, name := range []string{"page.js", "page.css"} {
		if files[name], err = os.ReadFile(filepath.Join(dir, name)); err != nil {
			return nil, err
		}
	}
	return files, nil
})

// run runs a tool in this directory and fails the test if it fails.
func run(t *testing.T, tool string, args ...string) {
	t.Helper()
	if err := install(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	if out, err := exec.CommandContext(ctx, tool, args...).CombinedOutput(); err != nil {
		t.Errorf("%s %v: %v\n%s", tool, args, err, out)
	}
}

// The types in the comments are right, and so is a program that uses them.
func TestTypes(t *testing.T) {
	if raced {
		t.Skip("the compiler takes long, and is the same under the race detector")
	}
	t.Parallel()
	run(t, "npm", "run", "--silent", "check")
}

func TestAnswers(t *testing.T) { run(t, "node", "--test", "testdata/answer.test.mjs") }

// Whoever installs the packages gets them from the registry of their own.
func TestTheLockNamesNoRegistry(t *testing.T) {
	lock, err := os.ReadFile("package-lock.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, from := range regexp.MustCompile(`"resolved": *"[a-z+]+://[^"]*"`).FindAll(lock, -1) {
		t.Errorf("package-lock.json has %s", from)
	}
	if !bytes.Contains(lock, []byte(`"integrity"`)) {
		t.Error("package-lock.json pins no package by its checksum")
	}
}
