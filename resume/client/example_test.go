package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"sync"

	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/resume/client"
)

func ExampleUploadFile() {
	r, err := client.UploadFile(context.Background(), "wss://example.org/upload/", "video.mp4", client.Options{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(r.Length, "bytes are at", r.Location)
}

// A stream of unknown length, with credentials and a digest.
func ExampleUpload() {
	src := client.FromReader(os.Stdin, client.UnknownSize)
	src.Name = "dump.sql"
	r, err := client.Upload(context.Background(), "wss://example.org/upload/", src, client.Options{
		Header:     http.Header{"Authorization": {"Bearer ..."}},
		WantDigest: true,
	})
	var refused *protocol.Error
	switch {
	case errors.As(err, &refused) && refused.Response != nil:
		log.Fatalf("the app answered %d", refused.Response.Status)
	case err != nil:
		log.Fatal(err)
	}
	fmt.Printf("%x\n", r.SHA256)
}

// Many files over one connection.
func ExampleClient() {
	c, err := client.New("wss://example.org/upload/", client.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	names, err := filepath.Glob("photos/*.jpg")
	if err != nil {
		log.Fatal(err)
	}
	var all sync.WaitGroup
	for _, name := range names {
		all.Go(func() {
			src, err := client.OpenFile(name)
			if err != nil {
				log.Print(err)
				return
			}
			defer src.Close()
			if _, err := c.Upload(context.Background(), src); err != nil {
				log.Print(err)
			}
		})
	}
	all.Wait()
}
