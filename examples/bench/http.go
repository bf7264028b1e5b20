package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
)

// servePut is the upload handler people write.
func servePut(l net.Listener, j job) error {
	return http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f, err := os.Create(filepath.Join(j.Dir, "put"))
		if err == nil {
			_, err = io.Copy(f, r.Body)
			f.Close()
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.WriteHeader(http.StatusCreated)
	}))
}

func sendPut(addr string, size int64) error {
	c, err := dialHTTP(addr)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.request("PUT", "/put", "", size)
	return err
}

// httpClient is one connection on which requests follow each other. Bodies go
// out a chunk at a time, where net/http would send 32 KiB: the servers are
// measured, not a client.
type httpClient struct {
	net.Conn
	in   *bufio.Reader
	addr string
}

func dialHTTP(addr string) (*httpClient, error) {
	conn, err := dialer.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	return &httpClient{Conn: conn, in: bufio.NewReader(conn), addr: addr}, nil
}

// request sends size bytes of payload. An answer other than 2xx is an error.
func (c *httpClient) request(method, path, header string, size int64) (*http.Response, error) {
	if _, err := fmt.Fprintf(c, "%s %s HTTP/1.1\r\nHost: %s\r\n%sContent-Length: %d\r\n\r\n", method, path, c.addr, header, size); err != nil {
		return nil, err
	}
	if err := sendPayload(c, size); err != nil {
		return nil, err
	}
	resp, err := http.ReadResponse(c.in, &http.Request{Method: method})
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode/100 != 2 {
		err = fmt.Errorf("%s %s: %s: %.200s", method, path, resp.Status, body)
	}
	return resp, err
}
