package middleware

import (
	"time"

	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/resume"
)

// Event is something worth counting, told to [Options.Observer].
type Event struct {
	Kind EventKind
	// ID and Owner of the upload; empty for events of a connection.
	ID    resume.ID
	Owner string
	// State of the upload, for Opened, Resumed, Completed, Delivered and Rejected.
	// Read only.
	State *resume.State
	// Plain: the connection speaks no subprotocol.
	Plain bool
	// Code of a Failed event, and what ended the connection of a Disconnected
	// one, if it was an error.
	Code protocol.Code
	// Bytes taken in: by this connection for Disconnected, the upload's length
	// for Completed and Delivered.
	Bytes int64
	// Duration since the connection, or the delivery, began.
	Duration time.Duration
}

// EventKind says what happened.
type EventKind string

const (
	Connected    EventKind = "connected"
	Disconnected EventKind = "disconnected"
	Opened       EventKind = "opened"    // an upload was created
	Resumed      EventKind = "resumed"   // an upload that had bytes was taken up
	Completed    EventKind = "completed" // all bytes durable and verified
	Delivered    EventKind = "delivered" // the app or the directory has it
	Rejected     EventKind = "rejected"  // the app, or the directory, refused it for good
	Failed       EventKind = "failed"    // an error went to a client
	Refused      EventKind = "refused"   // an upgrade was refused
	Died         EventKind = "died"      // a silent connection was cut
)
