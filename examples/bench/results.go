package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
)

// What stands between these lines of a README.md is written by the harness.
const (
	beginMark = "<!-- results, written by the harness: do not edit -->\n"
	endMark   = "<!-- end of results -->\n"
)

func readmeIn(dir string) string  { return filepath.Join(dir, "README.md") }
func pictureIn(dir string) string { return filepath.Join(dir, "results.svg") }

// writable says whether dir has a README.md with a place for results.
func writable(dir string) error {
	page, err := os.ReadFile(readmeIn(dir))
	if err != nil {
		return fmt.Errorf("results go into a README.md: %w (run this in examples/bench, or say where with -out)", err)
	}
	_, err = between(page, nil)
	return err
}

// between returns page with what stands between the marks replaced.
func between(page, text []byte) ([]byte, error) {
	begin := bytes.Index(page, []byte(beginMark))
	end := bytes.Index(page, []byte(endMark))
	if begin < 0 || end < begin {
		return nil, fmt.Errorf("no place for results: README.md must have the lines %q and, behind it, %q", beginMark, endMark)
	}
	begin += len(beginMark)
	return bytes.Join([][]byte{page[:begin], text, page[end:]}, nil), nil
}

// write puts the tables into dir's README.md, and the picture beside it.
func (r *report) write(dir string) error {
	picture := r.picture()
	if err := replaceIn(dir, r.section(picture != nil)); err != nil || picture == nil {
		return err
	}
	return os.WriteFile(pictureIn(dir), picture, 0o644)
}

// replaceIn replaces what stands between the marks in dir's README.md.
func replaceIn(dir string, text []byte) error {
	page, err := os.ReadFile(readmeIn(dir))
	if err != nil {
		return err
	}
	if page, err = between(page, text); err != nil {
		return err
	}
	return os.WriteFile(readmeIn(dir), page, 0o644)
}

// section is what is put between the marks.
func (r *report) section(pictured bool) []byte {
	var b bytes.Buffer
	if pictured {
		b.WriteString("\n![Throughput and CPU time of the rows, and throughput over the round trip time](results.svg)\n")
	}
	r.print(&b) // to memory: no error
	b.WriteByte('\n')
	return b.Bytes()
}
