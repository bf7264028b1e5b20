package main

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// serveRaw takes a length of 8 bytes and as many bytes behind it, in reads of
// a chunk, into a file, and answers with one byte: the least that an upload
// can cost.
func serveRaw(sync bool) func(net.Listener, job) error {
	return func(l net.Listener, j job) error {
		buf := make([]byte, chunk)
		for {
			conn, err := l.Accept()
			if err != nil {
				return err
			}
			if err := takeRaw(conn, j.Dir, buf, sync); err != nil {
				return err
			}
		}
	}
}

func takeRaw(conn net.Conn, dir string, buf []byte, sync bool) error {
	defer conn.Close()
	f, err := os.CreateTemp(dir, "raw-")
	if err != nil {
		return err
	}
	defer f.Close()
	var head [8]byte
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return err
	}
	for left := int64(binary.BigEndian.Uint64(head[:])); left > 0; {
		n, err := io.ReadFull(conn, buf[:min(left, chunk)])
		if err != nil {
			return err
		}
		if _, err := f.Write(buf[:n]); err != nil {
			return err
		}
		left -= int64(n)
	}
	written.note(0)
	if sync {
		if err := unix.Fdatasync(int(f.Fd())); err != nil {
			return err
		}
	}
	_, err = conn.Write([]byte{1})
	return err
}

func sendRaw(addr string, size int64) error {
	conn, err := dialer.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := binary.Write(conn, binary.BigEndian, uint64(size)); err != nil {
		return err
	}
	if err := sendPayload(conn, size); err != nil {
		return err
	}
	var answer [1]byte
	if _, err := io.ReadFull(conn, answer[:]); err != nil {
		return errors.New("no answer to a raw upload")
	}
	return nil
}
