package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"

	"github.com/coder/websocket"
)

// serveCoder is the upload handler people write with coder/websocket. A text
// message ends an upload, and is the answer to it.
func serveCoder(l net.Listener, j job) error {
	return http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer conn.CloseNow()
		conn.SetReadLimit(1 << 20)
		f, err := os.Create(filepath.Join(j.Dir, "messages"))
		if err != nil {
			return
		}
		defer f.Close()
		for {
			typ, p, err := conn.Read(r.Context())
			if err != nil {
				return
			}
			if typ == websocket.MessageText {
				conn.Write(r.Context(), typ, p)
				continue
			}
			if _, err := f.Write(p); err != nil {
				return
			}
		}
	}))
}

func sendCoder(addr string, size int64) error {
	c, err := dialWS(addr, "/", "", nil)
	if err != nil {
		return err
	}
	defer c.Close()
	for sent := int64(0); sent < size; sent += chunk {
		if err := c.data(min(chunk, size-sent)); err != nil {
			return err
		}
	}
	if err := c.frame(opText, []byte("end")); err != nil {
		return err
	}
	if _, err := c.next(); err != nil {
		return fmt.Errorf("no answer to the end: %w", err)
	}
	return nil
}
