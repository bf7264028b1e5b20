// Package situations holds the server to its promise: what kills a sustained
// upload elsewhere does not kill it here.
//
// Its tests put real clients (the loop of Python's websockets as Debian ships
// it, a full client in Python, the two clients of examples/python as they are,
// package resume/client, a loop of coder/websocket) into the situations in which
// uploads were seen to die: a disk that stalls, a client too busy to answer, a
// slow line, a line that swallows everything, acks that nobody reads, a frame
// that takes long, a proxy that writes into the middle of one, a log that
// blocks. Each is tried twice, against this server and against a naive one,
// whose handler reads and writes to the file in turn: the control that shows
// that the situation kills.
//
//	go test -v ./middleware/internal/situations
//
// prints who survived what. The clients' ping timeout is half a second where
// its default is twenty; what matters is the bytes on their way against the
// rate of the line times this timeout, so that all else is scaled with it. With
// -short, which is for the race detector, it is a second against this server, and
// fewer clients are tried.
package situations
