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
	// State of the upload, for Opened, Resumed, Completed, Attempted, Delivered and
	// Rejected. Read only.
	State *resume.State
	// Plain: the connection speaks no subprotocol.
	Plain bool
	// Code of a Failed event, and what ended the connection of a Disconnected
	// one, if it was an error.
	Code protocol.Code
	// Cause of a Died event.
	Cause Cause
	// Outcome of an Attempted event.
	Outcome Outcome
	// Bytes taken in: by this connection for Disconnected, the upload's length
	// for Completed and Delivered.
	Bytes int64
	// Duration since the connection, the delivery or the attempt began; for
	// Durable, since bytes were taken in.
	Duration time.Duration
}

// EventKind says what happened.
type EventKind string

const (
	Connected    EventKind = "connected"
	Disconnected EventKind = "disconnected"
	Opened       EventKind = "opened"    // an upload was created
	Resumed      EventKind = "resumed"   // another connection took an upload up, also as a lane
	Completed    EventKind = "completed" // all bytes durable and verified
	Durable      EventKind = "durable"   // bytes that a sending client was timed by are on stable storage
	Attempted    EventKind = "attempted" // a delivery was tried
	Delivered    EventKind = "delivered" // the app or the directory has it
	Rejected     EventKind = "rejected"  // the app, or the directory, refused it for good
	Failed       EventKind = "failed"    // an error went to a client
	Refused      EventKind = "refused"   // an upgrade was refused
	Died         EventKind = "died"      // a connection was cut for what did not come
)

// Cause says why a connection counts as dead.
type Cause string

const (
	CauseSilent    Cause = "silent"    // nothing came, not even a pong
	CauseTrickling Cause = "trickling" // a message came by a byte now and then
)

// Outcome says what came of one try to deliver.
type Outcome string

const (
	OutcomeTaken       Outcome = "taken"       // the app or the directory has it
	OutcomeRefused     Outcome = "refused"     // for good, or until its client is there
	OutcomeFailed      Outcome = "failed"      // it is tried again
	OutcomeUnconfirmed Outcome = "unconfirmed" // it was taken, but Confirm failed: that is tried again
)
