package situations

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// content is the bytes of the uploads, the same as in testdata/content.py. It
// repeats with a prime period, so that no chunk size divides it: a chunk that
// is lost, doubled or misplaced shows in the bytes behind it.
type content struct{ twice []byte }

const period = 1_000_003

var theContent = newContent()

func newContent() content {
	var block []byte
	for i := uint64(0); len(block) < period; i++ {
		h := sha256.Sum256(binary.BigEndian.AppendUint64(nil, i))
		block = append(block, h[:]...)
	}
	block = block[:period]
	return content{append(block, block...)}
}

// at returns up to n bytes from off on, fewer where the period ends.
func (c content) at(off int64, n int) []byte {
	start := off % period
	return c.twice[start:min(start+int64(n), int64(len(c.twice)))]
}

// ReadAt makes the content an endless file.
func (c content) ReadAt(p []byte, off int64) (int, error) {
	for n := 0; n < len(p); {
		n += copy(p[n:], c.at(off+int64(n), len(p)-n))
	}
	return len(p), nil
}

// file writes the first size bytes to a file.
func (c content) file(t testing.TB, size int64) string {
	f, err := os.Create(filepath.Join(t.TempDir(), "content.bin"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := io.Copy(f, io.NewSectionReader(c, 0, size)); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}

// same reads r to its end and reports how it differs from the first size bytes.
func (c content) same(r io.Reader, size int64) error {
	buf := make([]byte, 512<<10)
	for off := int64(0); ; {
		n, err := io.ReadFull(r, buf)
		if !bytes.Equal(buf[:n], c.at(off, n)) {
			return fmt.Errorf("the bytes between %d and %d are not what was sent", off, off+int64(n))
		}
		off += int64(n)
		switch {
		case err == io.EOF || err == io.ErrUnexpectedEOF:
			if off != size {
				return fmt.Errorf("%d bytes arrived of %d", off, size)
			}
			return nil
		case err != nil:
			return err
		}
	}
}
