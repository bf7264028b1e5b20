package main

import (
	"io"
	"math/rand/v2"
)

// payload is what all clients send, over and over: a MiB that does not
// compress, from memory, so that no client waits for a disk.
var payload = func() []byte {
	b := make([]byte, 1<<20)
	rand.NewChaCha8([32]byte{}).Read(b)
	return b
}()

// sendPayload writes size bytes, a chunk at a time.
func sendPayload(w io.Writer, size int64) error {
	for sent := int64(0); sent < size; {
		at := sent % int64(len(payload))
		n, err := w.Write(payload[at : at+min(chunk, size-sent)])
		if err != nil {
			return err
		}
		sent += int64(n)
	}
	return nil
}

// file is payload as a file of any size, for clients that read one.
type file struct{}

func (file) ReadAt(p []byte, off int64) (n int, err error) {
	for n < len(p) {
		n += copy(p[n:], payload[(off+int64(n))%int64(len(payload)):])
	}
	return n, nil
}
