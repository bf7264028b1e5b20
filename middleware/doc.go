// Package middleware upgrades chosen routes of a net/http handler to chunked
// file upload over WebSocket, with resume and keepalive management.
//
// When an upload is complete, the next handler gets it as an ordinary request
// whose body is the whole file, and what it answers goes back over the socket:
// any handler that takes a POST body becomes resumable without a changed line.
//
//	store, err := filestore.New("/srv/uploads", filestore.Options{})
//	...
//	ingest, err := middleware.New(store, middleware.Options{Routes: []string{"/upload/"}})
//	...
//	http.ListenAndServe(addr, ingest.Wrap(next))
//
// Clients speak the protocol of package protocol, or simply open a WebSocket
// and send binary messages. What keeps a live connection from being declared
// dead, and a dead one from being kept, is written down in keepalive.go and
// package flow.
package middleware
