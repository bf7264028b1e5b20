package main

import (
	"net"
	"strings"
)

// row is a server and the client that goes with it.
type row struct {
	key, name string
	// serve takes uploads into the job's directory until its process ends.
	serve func(l net.Listener, j job) error
	// send makes one upload of size bytes, or many small ones as far as size is
	// a number of files, and returns when the server has answered for it all.
	send func(addr string, size int64) error
	// untilWritten stops the clock when the last byte is in the file, whatever
	// the disk is doing; the server says when that was.
	untilWritten bool
	// files says that size is a number of small files.
	files bool
	// load, in the place of send, holds many connections (load.go).
	load loader
	// least is what an upload over a shaped path has at least, in bytes.
	least int64
	// caddy says that the row needs Caddy.
	caddy bool
}

// ours says that the server is this project's.
func (r row) ours() bool { return strings.HasPrefix(r.name, "wsingest") }

// chunk is what the clients write at a time, and the size of a message.
const chunk = 256 << 10

// Keys that are spoken of elsewhere.
const (
	rawRow     = "raw"
	rawSyncRow = "raw-sync"
	putRow     = "put"
	h2Row      = "caddy-h2"
	tusdRow    = "tusd"
	looseRow   = "full-written"
	fullRow    = "full"
	goRow      = "go-client"
	lanesRow   = "lanes"
	shaRow     = "sha256"
	debugRow   = "debug"
	caddyRow   = "caddy"
	loadRow    = "load"

	smallOursRow   = "small"
	smallTusdRow   = "small-tusd"
	smallOneReqRow = "small-tusd-post"
)

var rows = []row{
	{key: rawRow, name: "raw TCP into a file", serve: serveRaw(false), send: sendRaw},
	{key: rawSyncRow, name: "raw TCP, one fdatasync at the end", serve: serveRaw(true), send: sendRaw},
	{key: putRow, name: "net/http PUT, io.Copy", serve: servePut, send: sendPut},
	{key: tusdRow, name: "tusd 2.9.1, one PATCH", serve: serveTus, send: sendTus(1 << 62)},
	{key: "tusd-5m", name: "tusd 2.9.1, PATCHes of 5 MiB", serve: serveTus, send: sendTus(5 << 20)},
	{key: "coder", name: "coder/websocket, conn.Read", serve: serveCoder, send: sendCoder},
	{key: looseRow, name: "wsingest, not waiting for the disk", serve: serveOurs(loose), send: sendFull(false, ""), untilWritten: true},
	{key: "plain-written", name: "wsingest, plain client, not waiting for the disk", serve: serveOurs(loose), send: sendPlain, untilWritten: true},
	{key: fullRow, name: "wsingest", serve: serveOurs(usual), send: sendFull(false, "")},
	{key: "plain", name: "wsingest, plain client", serve: serveOurs(usual), send: sendPlain},
	{key: goRow, name: "wsingest, Go client", serve: serveOurs(usual), send: sendGo(1)},
	{key: "lanes-2", name: "wsingest, Go client, 2 lanes", serve: serveOurs(usual), send: sendGo(2)},
	{key: lanesRow, name: "wsingest, Go client, 4 lanes", serve: serveOurs(usual), send: sendGo(4), least: 20e6}, // no lanes are opened below 16 MiB
	{key: shaRow, name: "wsingest, SHA-256", serve: serveOurs(usual), send: sendFull(false, "sha-256")},
	{key: "tls", name: "wsingest, TLS", serve: serveOurs(encrypted), send: sendFull(true, "")},
	{key: debugRow, name: "wsingest, log at DEBUG", serve: serveOurs(verbose), send: sendFull(false, "")},
	{key: caddyRow, name: "wsingest in Caddy", serve: serveCaddy, send: sendFull(false, ""), caddy: true},
	{key: "caddy-proxy", name: "wsingest behind Caddy's reverse_proxy", serve: serveBehindCaddy(serveOurs(usual)), send: sendFull(false, ""), caddy: true},
	{key: "caddy-put", name: "PUT behind Caddy's reverse_proxy", serve: serveBehindCaddy(servePut), send: sendPut, caddy: true},
	{key: "caddy-tusd", name: "tusd 2.9.1 behind Caddy's reverse_proxy", serve: serveBehindCaddy(serveTus), send: sendTus(1 << 62), caddy: true},
	{key: h2Row, name: "HTTP/2 PUT behind Caddy's reverse_proxy", serve: serveBehindCaddy(servePut), send: sendHTTP2, caddy: true},

	{key: smallOursRow, name: "wsingest, one connection", serve: serveOurs(usual), send: sendSmall(1), files: true},
	{key: "small-16", name: "wsingest, 16 connections", serve: serveOurs(usual), send: sendSmall(16), files: true},
	{key: "small-go", name: "wsingest, Go client, one connection", serve: serveOurs(usual), send: sendSmallGo, files: true},
	{key: smallTusdRow, name: "tusd 2.9.1, POST and PATCH, one connection", serve: serveTus, send: sendSmallTus(1, false), files: true},
	{key: "small-tusd-16", name: "tusd 2.9.1, POST and PATCH, 16 connections", serve: serveTus, send: sendSmallTus(16, false), files: true},
	{key: smallOneReqRow, name: "tusd 2.9.1, all in the POST, one connection", serve: serveTus, send: sendSmallTus(1, true), files: true},
	{key: "small-tusd-post-16", name: "tusd 2.9.1, all in the POST, 16 connections", serve: serveTus, send: sendSmallTus(16, true), files: true},

	{key: loadRow, name: "wsingest, many connections", serve: serveOurs(usual), load: holdConnections},
}
