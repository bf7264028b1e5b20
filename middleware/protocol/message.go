package protocol

import "encoding/json"

// Message is any control message, of either side.
type Message interface {
	// messageType is the value of the field "type" on the wire.
	messageType() string
}

// Open creates an upload or takes up one that is there.
type Open struct {
	// ID names the upload; absent: the server makes one.
	ID string `json:"id,omitempty"`
	// Name is the file's name as the user knows it.
	Name string `json:"name,omitempty"`
	// Type is the media type; "type" itself is the type of the message.
	Type string `json:"media-type,omitempty"`
	// Length in bytes; nil: not known before finish.
	Length   *int64            `json:"length,omitempty"`
	Metadata map[string]string `json:"metadata,omitempty"`
	// WantDigest is "sha-256" or empty: the digest the client wants to see in
	// done.
	WantDigest string `json:"want-digest,omitempty"`
	// Range makes this connection a lane: it sends bytes of this range only.
	Range *Range `json:"range,omitempty"`
	// Resume: the upload must be there already.
	Resume bool `json:"resume,omitempty"`
	// Eager: bytes follow before ready was read. They begin at byte 0, or where
	// Range does, and the server passes over those that it has. Without Eager the
	// client waits for ready and sends from its cursor.
	Eager bool `json:"eager,omitempty"`
	// PingTimeoutMS is how long the client's own library waits for a pong, in
	// milliseconds. It bounds the window. 0: 20,000; negative: the client never
	// pings, as a browser.
	PingTimeoutMS int64 `json:"ping-timeout-ms,omitempty"`
	// Ticket is a signed grant, opaque here.
	Ticket string `json:"ticket,omitempty"`
}

// Start is where the bytes of a client begin that is eager: at the start of its
// range, or of the file.
func (o *Open) Start() int64 {
	if o.Range == nil {
		return 0
	}
	return o.Range.Start
}

// Check states the CRC-32C of the bytes this connection has sent, from its
// first up to Offset, which is where the next byte would go.
type Check struct {
	Offset int64  `json:"offset"`
	CRC32C CRC32C `json:"crc32c"`
}

// Finish says that this is all: verify, commit, deliver.
type Finish struct {
	Length *int64  `json:"length,omitempty"`
	Digest *Digest `json:"digest,omitempty"`
}

// Cancel deletes the upload.
type Cancel struct{}

// Ready answers open.
type Ready struct {
	ID string `json:"id"`
	// Offset: everything from the start of the file up to here is on stable
	// storage. A guarantee.
	Offset int64 `json:"offset"`
	// Received: everything from the start of the file up to here is taken in.
	Received int64 `json:"received"`
	// Cursor is the position of the next byte on this connection. It equals
	// Received, except on a lane.
	Cursor int64  `json:"cursor"`
	Length *int64 `json:"length,omitempty"`
	// Missing is what is not yet on stable storage, of the whole upload.
	Missing []Range `json:"missing"`
	// Have is what is on stable storage, with checksums, so that a client can
	// prove that its file is still the same file.
	Have      []Have    `json:"have"`
	Window    int64     `json:"window"`
	Chunk     int64     `json:"chunk"`
	Limits    Limits    `json:"limits"`
	Keepalive Keepalive `json:"keepalive"`
	// Complete: nothing is missing and finish was accepted; done follows.
	Complete bool `json:"complete,omitempty"`
}

// MarshalJSON writes a list with nothing in it as [], where Go would say null.
func (r Ready) MarshalJSON() ([]byte, error) {
	type plain Ready
	if r.Missing == nil {
		r.Missing = []Range{}
	}
	if r.Have == nil {
		r.Have = []Have{}
	}
	return json.Marshal(plain(r))
}

// Have is one run of bytes on stable storage.
type Have struct {
	Range  Range  `json:"range"`
	CRC32C CRC32C `json:"crc32c"`
}

// Limits are named as in draft-ietf-httpbis-resumable-upload. 0 and absent: no
// limit.
type Limits struct {
	MaxSize       int64 `json:"max-size,omitempty"`        // bytes of an upload
	MinAppendSize int64 `json:"min-append-size,omitempty"` // bytes of a binary message that is not the last
	MaxAppendSize int64 `json:"max-append-size,omitempty"` // bytes of a binary message
	MaxAge        int64 `json:"max-age,omitempty"`         // seconds an untouched upload is kept
	MaxLifetime   int64 `json:"max-lifetime,omitempty"`    // seconds from now in which the upload must be finished
	MaxRate       int64 `json:"max-rate,omitempty"`        // bytes a second on this connection
}

// Keepalive is the server's rhythm: it says something at least every
// IntervalMS, and drops a connection that was silent for TimeoutMS.
type Keepalive struct {
	IntervalMS int64 `json:"interval-ms"`
	TimeoutMS  int64 `json:"timeout-ms"`
}

// Ack reports progress, and is the heartbeat when there is none. Offset and
// Received are positions in the file: everything from where this connection
// began up to Offset is on stable storage, up to Received is taken in.
type Ack struct {
	ID       string `json:"id"`
	Offset   int64  `json:"offset"`
	Received int64  `json:"received"`
	Window   int64  `json:"window"`
	Chunk    int64  `json:"chunk"`
	State    string `json:"state,omitempty"` // see the State constants
}

// What the server is doing with an upload that has all its bytes: Ack.State.
const (
	StateStoring    = "storing"
	StateVerifying  = "verifying"
	StateDelivering = "delivering"
)

// StateWaitingForSpace: the server has no room for the bytes of an upload, which
// goes on when there is some.
const StateWaitingForSpace = "waiting-for-space"

// Done ends an upload. It is stored, and sent again to a client that opens the
// same id later.
type Done struct {
	ID        string    `json:"id"`
	Length    int64     `json:"length"`
	Digest    *Digest   `json:"digest,omitempty"`
	Response  *Response `json:"response,omitempty"`
	Location  string    `json:"location,omitempty"` // where the file was published
	Cancelled bool      `json:"cancelled,omitempty"`
}

// Response is what the app behind the server answered.
type Response struct {
	Status  int                 `json:"status"`
	Headers map[string][]string `json:"headers,omitempty"`
	// Body holds at most 64 KiB; Truncated says that there was more. A body that
	// is not UTF-8 is in BodyBase64 instead.
	Body       string `json:"body,omitempty"`
	BodyBase64 []byte `json:"body-base64,omitempty"`
	Truncated  bool   `json:"truncated,omitempty"`
}

// Error says what went wrong, in words a person can act on. It is an error of
// Go, too.
type Error struct {
	ID     string `json:"id,omitempty"`
	Code   Code   `json:"code"`
	Detail string `json:"detail"`
	// Resumable: opening the same id again makes sense.
	Resumable    bool      `json:"resumable"`
	RetryAfterMS int64     `json:"retry-after-ms,omitempty"`
	Offset       *int64    `json:"offset,omitempty"`  // with mismatching-upload-offset and digest-mismatch: go on from here
	Missing      []Range   `json:"missing,omitempty"` // with a finish that came too early
	Response     *Response `json:"response,omitempty"`
}

func (e *Error) Error() string { return string(e.Code) + ": " + e.Detail }

// Goaway asks the client to reconnect and open again: the server reloads or
// stops. Everything below Offset is on stable storage.
type Goaway struct {
	ID           string `json:"id,omitempty"`
	Offset       int64  `json:"offset"`
	RetryAfterMS int64  `json:"retry-after-ms,omitempty"`
}

func (*Open) messageType() string   { return "open" }
func (*Check) messageType() string  { return "check" }
func (*Finish) messageType() string { return "finish" }
func (*Cancel) messageType() string { return "cancel" }
func (*Ready) messageType() string  { return "ready" }
func (*Ack) messageType() string    { return "ack" }
func (*Done) messageType() string   { return "done" }
func (*Error) messageType() string  { return "error" }
func (*Goaway) messageType() string { return "goaway" }
