package client

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/wsingest/wsingest/resume"
)

// feed gives the sender bytes of a source, from any position that the server
// may still ask for.
type feed interface {
	// at returns bytes from position off on, at most len(buf), in buf or
	// elsewhere. Nothing without an error: there are fewer than least as yet, the
	// sender is poked when there are more. io.EOF: the source ends at off.
	at(off int64, buf []byte, least int64) ([]byte, error)
	// release says that nothing below durable will be asked for.
	release(durable int64)
	// known returns the length, or UnknownSize while it is not known.
	known() int64
	// close ends the use of the source: nothing of it is read after close
	// returned, except for a Read of an io.Reader that is under way.
	close()
}

// errReleased: the source may not be touched any more.
var errReleased = errors.New("the upload was given up")

// fileFeed reads a ReaderAt.
type fileFeed struct {
	src *Source

	mu     sync.Mutex // held while the source is read
	closed bool
}

// ReadAt reads the source unless the feed is closed.
func (f *fileFeed) ReadAt(p []byte, off int64) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return 0, errReleased
	}
	n, err := f.src.ReaderAt.ReadAt(p, off)
	if n == len(p) {
		return n, nil
	}
	if err == nil || err == io.EOF {
		err = fmt.Errorf("%w: it ends at byte %d, it had %d", ErrSourceChanged, off+int64(n), f.src.Size)
	}
	return n, err
}

func (f *fileFeed) at(off int64, buf []byte, _ int64) ([]byte, error) {
	n := min(int64(len(buf)), f.src.Size-off)
	if n <= 0 {
		return nil, io.EOF
	}
	_, err := f.ReadAt(buf[:n], off)
	return buf[:n], err
}

func (f *fileFeed) release(int64) {}
func (f *fileFeed) known() int64  { return f.src.Size }
func (f *fileFeed) close() {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
}

// crcOf returns the CRC-32C of the source's bytes in r.
func (f *fileFeed) crcOf(r resume.Range) (uint32, error) {
	buf := make([]byte, min(blockSize*4, max(r.End-r.Start, 1)))
	var crc uint32
	for off := r.Start; off < r.End; {
		p := buf[:min(int64(len(buf)), r.End-off)]
		if _, err := f.ReadAt(p, off); err != nil {
			return 0, err
		}
		crc = resume.UpdateCRC32C(crc, p)
		off += int64(len(p))
	}
	return crc, nil
}
