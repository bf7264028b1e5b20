package client

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"time"

	"go.uber.org/zap"
)

// Defaults of Options and Retry.
const (
	DefaultRetention   = 64 << 20
	DefaultInFlight    = 128
	DefaultGiveUpAfter = 15 * time.Minute
	DefaultMinDelay    = 250 * time.Millisecond
	DefaultMaxDelay    = 30 * time.Second
)

// MaxLanes is the most connections one upload may use.
const MaxLanes = 16

// Options configure a [Client]. The zero value works.
type Options struct {
	// Header goes with every handshake: Authorization, cookies.
	Header http.Header
	// HTTPClient does the handshake. Its Transport must be like that of
	// net/http: the body of a 101 is the connection. Nil: one with TLSConfig,
	// and the proxy of the environment.
	HTTPClient *http.Client
	// TLSConfig is for wss and https. Not together with HTTPClient.
	TLSConfig *tls.Config
	// Logger gets connects, retries and ends. Nil: nobody. One that blocks holds
	// up no upload: then lines are dropped, and counted in the log.
	Logger *zap.Logger
	// Retry says how hard to try.
	Retry Retry

	// WantDigest has the server compute the SHA-256 of what it stored. It is
	// compared with that of what was read here, and stands in the Result. It
	// takes a core here for half a second per GiB, beside the sending. Without
	// it both ends compare the CRC-32C of the whole, which costs nothing.
	WantDigest bool
	// Lanes is how many connections one upload of known size may use, 1 to
	// MaxLanes; 0 is 1. More than one pays on long or lossy paths. Sources
	// without a ReaderAt, and those below 16 MiB, use one.
	Lanes int
	// Retention bounds the memory, in bytes, for what was read from a Reader and
	// is not yet on the server's stable storage. When it is full the Reader waits.
	// 0 is DefaultRetention, the least 1 MiB.
	Retention int64
	// InFlight is how many uploads may be on their way on one connection without
	// their end being confirmed, 1 or more; 0 is DefaultInFlight.
	InFlight int
	// StateDir is a directory for state files of sources that have a Path: it
	// makes interrupted uploads go on in another process. Empty: no state files
	// but those that Source.StateFile names.
	StateDir string
	// PingTimeout tells the server how long an intermediary on the way tolerates
	// a ping without an answer, which bounds how much the server lets be on the
	// way. 0: the server's default of 20 s.
	PingTimeout time.Duration
}

// Retry bounds how a client deals with failures that may pass: connections
// that break or stall, servers that restart, 408, 425, 429 and 5xx. A server's
// Retry-After and retry-after-ms are honoured.
type Retry struct {
	// GiveUpAfter is how long to go on without any progress, then the error is
	// ErrGaveUp. 0 is DefaultGiveUpAfter; negative: never give up.
	GiveUpAfter time.Duration
	// MaxTries bounds the failures in a row without any progress. 0: unbounded.
	MaxTries int
	// MinDelay and MaxDelay are the first and the longest pause between two
	// attempts; each is varied by half to either side. 0: the defaults.
	MinDelay, MaxDelay time.Duration
	// OnRetry, if set, is told of each failure and of the pause that follows, by
	// several goroutines at a time where there are lanes. It must not block.
	OnRetry func(err error, pause time.Duration)
}

// withDefaults returns o with zero values filled in, or what is wrong with it.
func (o Options) withDefaults() (Options, error) {
	if o.HTTPClient != nil && o.TLSConfig != nil {
		return o, fmt.Errorf("client: Options.TLSConfig goes into the HTTPClient's Transport when there is an HTTPClient")
	}
	if o.Lanes < 0 || o.Lanes > MaxLanes {
		return o, fmt.Errorf("client: Options.Lanes is %d, expected 1 to %d, or 0 for 1", o.Lanes, MaxLanes)
	}
	if o.Retention != 0 && o.Retention < blockSize*4 {
		return o, fmt.Errorf("client: Options.Retention is %d bytes, expected at least 1 MiB, or 0 for %d MiB", o.Retention, DefaultRetention>>20)
	}
	if o.InFlight < 0 {
		return o, fmt.Errorf("client: Options.InFlight is %d, expected 1 or more, or 0 for %d", o.InFlight, DefaultInFlight)
	}
	if o.PingTimeout < 0 {
		return o, fmt.Errorf("client: Options.PingTimeout is %v, expected 0 or more", o.PingTimeout)
	}
	r := &o.Retry
	if r.MaxTries < 0 || r.MinDelay < 0 || r.MaxDelay < 0 {
		return o, fmt.Errorf("client: Options.Retry has a negative bound, expected 0 for the default or more")
	}
	r.GiveUpAfter = orDefault(r.GiveUpAfter, DefaultGiveUpAfter)
	r.MinDelay = orDefault(r.MinDelay, DefaultMinDelay)
	r.MaxDelay = max(orDefault(r.MaxDelay, DefaultMaxDelay), r.MinDelay)
	o.Retention = orDefault(o.Retention, DefaultRetention)
	o.InFlight = orDefault(o.InFlight, DefaultInFlight)
	o.Lanes = orDefault(o.Lanes, 1)
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	return o, nil
}

func orDefault[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}
