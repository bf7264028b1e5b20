package main

import (
	"fmt"
	"io"
	"net/http"
)

// sendHTTP2 is a PUT over HTTP/2 without TLS, by Go's own client: how fast it
// is on a long path is for the server to say, which grants the window.
func sendHTTP2(addr string, size int64) error {
	var p http.Protocols
	p.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: &p, DialContext: dialer.DialContext}
	defer transport.CloseIdleConnections()
	r, err := http.NewRequest("PUT", "http://"+addr+"/put", io.NewSectionReader(file{}, 0, size))
	if err != nil {
		return err
	}
	r.ContentLength = size
	resp, err := transport.RoundTrip(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.ProtoMajor != 2 || resp.StatusCode/100 != 2 {
		return fmt.Errorf("PUT over %s: %s", resp.Proto, resp.Status)
	}
	return nil
}
