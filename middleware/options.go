package middleware

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"net/url"
	"path"
	"runtime"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/wsingest/wsingest/middleware/ticket"
	"github.com/wsingest/wsingest/resume"
)

// Options are what [New] takes beside the store. The zero value works: every
// WebSocket upgrade is an upload, and the finished file goes to the next
// handler.
type Options struct {
	// Routes are patterns of http.ServeMux ("/upload/", "files.example.com/in/",
	// "/u/{user}/"). None: every WebSocket upgrade the handler sees. What is no
	// upgrade, or on no route, reaches the next handler untouched.
	Routes []string

	// AllowedOrigins are the hosts besides the request's own whose pages may
	// upload, as patterns of path.Match ("app.example.com", "*.example.com",
	// with a scheme "https://app.example.com"). "*" allows every page of the
	// web: do that only where something else than a cookie tells who uploads.
	// Programs that send no Origin are not concerned.
	AllowedOrigins []string

	// MaxSize bounds an upload, in bytes. 0: no bound.
	MaxSize int64

	// MaxLifetime is how long after its creation an upload must be finished. One
	// that is not is removed, whoever is sending: at the latest when its
	// connection is next looked at, every few seconds. 0: no bound.
	MaxLifetime time.Duration

	// QuotaPerOwner bounds what one owner has in the store at a time, in bytes:
	// the lengths of uploads that are not delivered yet, and of those with no
	// length what has come of them so far. 0: no bound.
	QuotaPerOwner int64

	// MaxUploadsPerOwner bounds how many uploads one owner has in the store at a
	// time that are not delivered yet. 0: no bound.
	MaxUploadsPerOwner int

	// MaxConnections bounds the upload connections at a time; one more is
	// refused with 503 before the upgrade. 0: 10,000.
	MaxConnections int

	// MaxConnectionsPerOwner bounds those of one owner, as Owner says it of the
	// upgrade request; one more is refused with 429. Each lane is a connection,
	// and all who have no owner are one. 0: no bound.
	MaxConnectionsPerOwner int

	// MaxConnectionsPerAddress bounds those from one address, in the same way.
	// Of IPv6 addresses a /64 counts as one. 0: no bound.
	MaxConnectionsPerAddress int

	// Memory bounds what all connections together hold of file data on its way
	// to the store, in bytes, at least 1 MiB. Windows are granted out of it: a
	// connection gets no more than it leaves to others, and its equal share at
	// least. Where it is short, connections wait for the store. 0: 256 MiB.
	Memory int64

	// Bandwidth bounds how fast file data comes in.
	Bandwidth Bandwidth

	// Keepalive is the rhythm of a connection on which nothing happens.
	Keepalive Keepalive

	// Owner says who a request speaks for: the upload's owner. Opening,
	// resuming and cancelling check it, and a foreign upload looks like one that
	// is not there. nil: everybody is the owner "".
	Owner func(*http.Request) string

	// Address says where a request comes from, for MaxConnectionsPerAddress: for
	// a server behind a proxy, which knows better than the socket. nil: the
	// host of RemoteAddr.
	Address func(*http.Request) string

	// Tickets, if set, makes every upload need a signed ticket of the app, which
	// says whose it is and what it may be: see package ticket. A ticket without an
	// owner leaves that to Owner. nil: none is needed.
	Tickets *ticket.Verifier

	// OnOpen is asked before an upload is created or taken up, and may change
	// what an [Opening] lets it, or refuse: with a *[Refusal] to choose the code,
	// with any other error as "forbidden". It may be called several times for
	// one upload.
	OnOpen func(context.Context, *Opening) error

	// AcceptTypes are the kinds of content taken, such as "application/pdf" or
	// "image/*", as http.DetectContentType tells them by the first bytes. Others
	// are rejected as soon as these have come. None: every kind.
	AcceptTypes []string

	// OnHead decides on the first bytes of an upload, which are in the store by
	// then and not delivered: an error rejects it for good and deletes it, a
	// *[Refusal] with RetryAfter keeps it for another time. Nothing is taken in
	// over the connection meanwhile. It may be called several times for one upload.
	OnHead func(context.Context, *Head) error

	// OnComplete is told of an upload that was delivered, before its client is.
	// After a crash it may be told twice.
	OnComplete func(context.Context, resume.State)

	// Confirm is told of an upload that was taken, before its client is and
	// before that is recorded. An error has it told again, for as long as a
	// delivery is tried again, also after a crash: so it hears of every upload at
	// least once. See [Webhook].
	Confirm func(context.Context, Taken) error

	// Publish puts finished files into a directory instead of handing them to
	// the next handler. The store must be a resume.Publisher, or a
	// resume.KeyPublisher: then they are objects, and the directory is what their
	// keys begin with.
	Publish *Publish

	// DeliverMethod is the method of the request the next handler gets. "": POST.
	DeliverMethod string

	// DeliverFor is how long a delivery that fails is tried again (a status of
	// 408, 425, 429 or 5xx, or a panic) before the client is told to come back
	// later. The upload stays complete meanwhile and is not lost. 0: 15 minutes.
	DeliverFor time.Duration

	// RedeliverFor is how long the upload is tried again after that without its
	// client, also after a restart, counted from when it was complete. Then
	// [Ingest.Undelivered] lists it as dead, and it waits for its client, or for
	// [Ingest.Redeliver]. Negative: not at all. 0: 7 days.
	RedeliverFor time.Duration

	// KeepHeaders are headers of the upgrade that a delivery without the client
	// needs, besides those that only say where it came from: they are written to
	// the disk with the upload, until it is delivered. Credentials are kept only
	// if they stand here.
	KeepHeaders []string

	// KeepQuery are the same among the parameters of its URL.
	KeepQuery []string

	// Replay leads deliveries without the client to where they go. nil: to the
	// handler that Wrap was given, if the URL is on one of Routes.
	Replay *Replay

	// Refuse answers an upgrade that is refused, where the server has a way of
	// its own to show errors. nil: with problem+json (RFC 9457).
	Refuse func(http.ResponseWriter, *http.Request, *UpgradeError)

	// Deliveries are shared by engines that work on the same store, such as the
	// one before and the one after a reload, so that an upload is not delivered
	// by two of them at a time. nil: this engine is alone.
	Deliveries *Deliveries

	// Logger gets a line per event of an upload's life at INFO and one per ack
	// at DEBUG. nil: none.
	Logger *zap.Logger

	// Observer is told of everything that is worth counting. It must not block.
	Observer func(Event)
}

// Bandwidth is in bytes of file data a second, at least 16 KiB. A full client is
// told by its window how much it may send; the socket of a plain one is read no
// faster. What is not used is saved up for a fifth of a second.
type Bandwidth struct {
	// PerConnection bounds each connection: also each lane of an upload. 0: no
	// bound.
	PerConnection int64
	// PerOwner bounds all connections of an owner together, which come to equal
	// parts. 0: no bound.
	PerOwner int64
	// Total bounds all connections together, in the same way. 0: no bound.
	Total int64
}

// most is what one connection can get. 0: no bound.
func (b Bandwidth) most() (rate int64) {
	for _, r := range []int64{b.PerConnection, b.PerOwner, b.Total} {
		if r > 0 && (rate == 0 || r < rate) {
			rate = r
		}
	}
	return rate
}

// Keepalive is the rhythm of a connection on which nothing happens. Any byte
// that comes in is life; see keepalive.go.
type Keepalive struct {
	// Interval is how often a full client hears something at the least. 1 s to
	// 25 s: a phone's NAT forgets a silent connection after 30 s. 0: 15 s.
	Interval time.Duration
	// Timeout is how long a connection may send nothing, not even a pong, before
	// it counts as dead. At least twice Interval. 0: 60 s, or three times
	// Interval if that is more.
	Timeout time.Duration
}

// Opening is what [Options.OnOpen] decides about.
type Opening struct {
	Request *http.Request // the upgrade request; read only
	Resume  bool          // the client says that the upload is there already
	Ticket  string        // as the client sent it
	Range   resume.Range

	// Info may be changed; its ID may not. Of an upload that is there already
	// the store keeps what it has.
	Info resume.Info
	// MaxSize may be lowered, in bytes. 0: no bound.
	MaxSize int64
}

// Publish says under which name a finished file appears, and where.
type Publish struct {
	// Dir is the directory, on the same file system as the store if publishing
	// is to be a rename.
	Dir string
	// Name chooses the file's name, one path element; what it returns goes
	// through resume.SafeName. nil: the name the client gave.
	Name func(resume.State) string
	// Path chooses folder and name in the place of Name: elements below Dir with
	// slashes between them ("alice/2026/a.txt"), each of which goes through
	// resume.SafeName. Folders that are missing are made. The request is the
	// upgrade's. An error is the client's to hear as [Options.OnOpen] would tell
	// it, and the upload is rejected for good.
	Path func(*http.Request, resume.State) (string, error)
	// OnConflict is what happens when the name is taken. "": rename.
	OnConflict resume.Conflict
	// Mode is the permissions of the files, 0400 to 0777. Folders that are made
	// for them may be entered by whoever may read the files. 0: 0600.
	Mode fs.FileMode
	// Owner of the files, and of such folders, where the process may give files
	// away; see resume.FileOwner. nil: the process.
	Owner *resume.FileOwner
	// Sidecar puts what is known of an upload beside its file: a [Sidecar] as
	// JSON, under the file's name with ".upload.json" behind. It is there before
	// the file is.
	Sidecar bool
}

// Replay says where an upload goes that is delivered without its client.
type Replay struct {
	// To calls deliver, before it returns, with a request made of r, which is like
	// the upgrade, and the next handler. Without a call the upload is tried again
	// later. false means that it is for another engine on the same store.
	To func(r *http.Request, deliver func(*http.Request, http.Handler)) bool
	// URL returns the one that r is to have, of the upgrade; it is written down
	// with the upload. nil: that of the request line, before any handler cut at it.
	URL func(upgrade *http.Request) *url.URL
}

// Taken is an upload that somebody took, for [Options.Confirm].
type Taken struct {
	State    resume.State
	Location string // below Publish.Dir, with slashes; "" when it went to the next handler
	Status   int    // what the next handler answered; 0 when there is a Location
}

// Defaults of [Options], and bounds.
const (
	defaultMemory         = 256 << 20
	minMemory             = 1 << 20
	defaultMaxConnections = 10_000
	defaultInterval       = 15 * time.Second
	maxInterval           = 25 * time.Second
	defaultTimeout        = 60 * time.Second
	defaultDeliverFor     = 15 * time.Minute
	defaultRedeliverFor   = 7 * 24 * time.Hour
)

// withDefaults checks o and fills in what it leaves open.
func (o Options) withDefaults() (Options, error) {
	var errs []error
	refuse := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if o.MaxSize < 0 {
		refuse("MaxSize is %d bytes, expected 0 (no bound) or more", o.MaxSize)
	}
	if o.QuotaPerOwner < 0 {
		refuse("QuotaPerOwner is %d bytes, expected 0 (no bound) or more", o.QuotaPerOwner)
	}
	if o.MaxLifetime < 0 {
		refuse("MaxLifetime is %v, expected 0 (no bound) or more", o.MaxLifetime)
	}
	if o.MaxConnections < 0 {
		refuse("MaxConnections is %d, expected 0 (%d) or more", o.MaxConnections, defaultMaxConnections)
	}
	atLeast0 := func(name string, n int) {
		if n < 0 {
			refuse("%s is %d, expected 0 (no bound) or more", name, n)
		}
	}
	atLeast0("MaxUploadsPerOwner", o.MaxUploadsPerOwner)
	atLeast0("MaxConnectionsPerOwner", o.MaxConnectionsPerOwner)
	atLeast0("MaxConnectionsPerAddress", o.MaxConnectionsPerAddress)
	if o.Memory != 0 && o.Memory < minMemory {
		refuse("Memory is %d bytes, expected 0 (%d) or at least %d", o.Memory, defaultMemory, minMemory)
	}
	rate := func(name string, n int64) {
		if n != 0 && n < minBandwidth {
			refuse("Bandwidth.%s is %d bytes a second, expected 0 (no bound) or at least %d", name, n, minBandwidth)
		}
	}
	rate("PerConnection", o.Bandwidth.PerConnection)
	rate("PerOwner", o.Bandwidth.PerOwner)
	rate("Total", o.Bandwidth.Total)
	if o.DeliverFor < 0 {
		refuse("DeliverFor is %v, expected 0 (%v) or more", o.DeliverFor, defaultDeliverFor)
	}
	for _, pattern := range o.AllowedOrigins {
		if _, err := path.Match(pattern, ""); err != nil {
			refuse("option AllowedOrigins: %q is no pattern: %v", pattern, err)
		}
	}
	for _, t := range o.AcceptTypes {
		if kind, params, err := mime.ParseMediaType(t); err != nil || len(params) > 0 || strings.Count(kind, "/") != 1 || kind[0] == '*' {
			refuse("AcceptTypes has %q, expected media types such as application/pdf or image/*", t)
		}
	}
	k := &o.Keepalive
	if k.Interval != 0 && (k.Interval < minInterval || k.Interval > maxInterval) {
		refuse("Keepalive.Interval is %v, expected 0 (%v) or %v to %v", k.Interval, defaultInterval, minInterval, maxInterval)
	}
	setDefault(&k.Interval, defaultInterval)
	setDefault(&k.Timeout, max(defaultTimeout, 3*k.Interval))
	if k.Timeout < 2*k.Interval {
		refuse("Keepalive.Timeout is %v, expected at least twice Interval (%v)", k.Timeout, k.Interval)
	}
	if p := o.Publish; p != nil {
		if p.Dir == "" {
			refuse("Publish.Dir is empty, expected a directory")
		}
		if p.Mode&^0o777 != 0 || p.Mode != 0 && p.Mode&0o400 == 0 {
			refuse("Publish.Mode is %#o, expected 0 (0600) or 0400 to 0777", uint32(p.Mode))
		}
		if w := p.Owner; w != nil && (w.UID < -1 || w.GID < -1 || runtime.GOOS == "windows") {
			refuse("Publish.Owner is %+v, expected ids of a Unix, -1 for one that stays as it is", *w)
		}
		switch p.OnConflict {
		case "", resume.ConflictRename, resume.ConflictOverwrite, resume.ConflictFail:
		default:
			refuse("Publish.OnConflict is %q, expected %q, %q or %q", p.OnConflict,
				resume.ConflictRename, resume.ConflictOverwrite, resume.ConflictFail)
		}
	}
	if o.Replay != nil && o.Replay.To == nil {
		refuse("Replay.To is nil, expected a function, or Replay to be nil")
	}
	setDefault(&o.MaxConnections, defaultMaxConnections)
	setDefault(&o.Memory, defaultMemory)
	setDefault(&o.DeliverFor, defaultDeliverFor)
	setDefault(&o.RedeliverFor, defaultRedeliverFor)
	setDefault(&o.DeliverMethod, http.MethodPost)
	if o.Deliveries == nil {
		o.Deliveries = new(Deliveries)
	}
	if o.Owner == nil {
		o.Owner = func(*http.Request) string { return "" }
	}
	if o.Address == nil {
		o.Address = remoteHost
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	if o.Observer == nil {
		o.Observer = func(Event) {}
	}
	return o, errors.Join(errs...)
}

// minInterval is a variable for tests alone, which cannot wait for seconds.
var minInterval = time.Second

func setDefault[T comparable](v *T, value T) {
	var zero T
	if *v == zero {
		*v = value
	}
}
