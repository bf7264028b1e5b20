// Package protocol is the messages of wsingest.v1, shared by both ends of an
// upload. PROTOCOL.md beside it is the normative text; names and their meaning
// come from there.
//
// Text messages are control, one JSON object each; binary messages are the
// bytes of the file and never pass through here.
package protocol

// Subprotocol is the WebSocket subprotocol of the full protocol, version 1.
const Subprotocol = "wsingest.v1"

// MaxMessageSize bounds a text message in bytes, either way. The largest is a
// done with a response body of 64 KiB, base64 where it is not text.
const MaxMessageSize = 256 << 10

// MaxClientMessageSize bounds a text message that a client sends. The largest
// is an open with its metadata.
const MaxClientMessageSize = 64 << 10

// InitialWindow is how many bytes a client may send behind its open before it
// has seen any answer.
const InitialWindow = 256 << 10

// DefaultPingTimeoutMS is the ping timeout taken for a client that names none
// in open: that of the most used WebSocket client libraries.
const DefaultPingTimeoutMS = 20_000
