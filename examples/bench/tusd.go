package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"

	"github.com/tus/tusd/v2/pkg/filelocker"
	"github.com/tus/tusd/v2/pkg/filestore"
	"github.com/tus/tusd/v2/pkg/handler"
	"golang.org/x/exp/slog"
)

// serveTus is the tusd command in its default setup, without its log: the same
// handler, store and locks.
func serveTus(l net.Listener, j job) error {
	parts := handler.NewStoreComposer()
	filestore.New(j.Dir).UseIn(parts)
	filelocker.New(j.Dir).UseIn(parts)
	h, err := handler.NewHandler(handler.Config{
		BasePath:      "/files/",
		StoreComposer: parts,
		Logger:        slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		return err
	}
	return http.Serve(l, http.StripPrefix("/files/", h))
}

// sendTus creates an upload and fills it with PATCHes of at most so many bytes.
func sendTus(patch int64) func(addr string, size int64) error {
	const version = "Tus-Resumable: 1.0.0\r\n"
	return func(addr string, size int64) error {
		c, err := dialHTTP(addr)
		if err != nil {
			return err
		}
		defer c.Close()
		resp, err := c.request("POST", "/files/", fmt.Sprintf("%sUpload-Length: %d\r\n", version, size), 0)
		if err != nil {
			return err
		}
		at, err := url.Parse(resp.Header.Get("Location"))
		if err != nil {
			return err
		}
		for sent := int64(0); sent < size; {
			n := min(patch, size-sent)
			header := fmt.Sprintf("%sUpload-Offset: %d\r\nContent-Type: application/offset+octet-stream\r\n", version, sent)
			if _, err := c.request("PATCH", at.Path, header, n); err != nil {
				return err
			}
			sent += n
		}
		return nil
	}
}
