// Command app stands for the app behind Caddy. It knows nothing of uploads: it
// takes a POST with a body, and answers what it got. What is POSTed to /hook,
// it prints.
package main

import (
	"crypto/sha256"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
)

func main() {
	listen := flag.String("listen", "localhost:9000", "address")
	flag.Parse()
	http.HandleFunc("POST /hook", func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		log.Printf("told: %s", body)
	})
	http.HandleFunc("POST /", func(w http.ResponseWriter, r *http.Request) {
		hash := sha256.New()
		n, err := io.Copy(hash, r.Body)
		if err != nil {
			log.Printf("%s: %v", r.URL.Path, err)
			return
		}
		log.Printf("%s %s: %d bytes of %s", r.Method, r.URL.Path, n, r.Header.Get("Content-Type"))
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, "took %d bytes, SHA-256 %x\n", n, hash.Sum(nil))
	})
	log.Printf("listening on %s", *listen)
	log.Fatal(http.ListenAndServe(*listen, nil))
}
