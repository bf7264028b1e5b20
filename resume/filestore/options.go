package filestore

import (
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/wsingest/wsingest/resume"
)

// Never, as one of the expiry durations of [Options], keeps forever.
const Never time.Duration = -1

// Options tune a [Store]. The zero value works.
type Options struct {
	// Logger gets a message per event of an upload's life, with its id. Nil: no
	// logging.
	Logger *zap.Logger

	// SyncBytes is how many bytes of an upload may be written before a sync of
	// them begins: 64 KiB to 1 GiB, default 8 MiB. Fewer cost throughput (one
	// sync per 256 KiB halves it); more let what is durable trail further
	// behind.
	SyncBytes int64

	// SyncInterval is how long a byte may wait for that sync to begin: 1 ms to
	// 1 min, default 200 ms. A sync takes 20 to 70 ms on an ordinary disk that
	// is being written to, so it spends a quarter of the time syncing one slow
	// upload, and a connection that breaks costs its client a fifth of a second
	// of bytes. A disk that takes longer than SyncInterval for a sync gets as
	// long a pause after it, and where more uploads are due than it is given at
	// once (4 for each processor, 8 at least and 64 at most), they wait for their
	// turn: with 1,000 at full speed, some 3 s.
	SyncInterval time.Duration

	// Reserve is what uploads leave free of the disk, in bytes, for others and for
	// the records of uploads: one whose length does not fit beside it, and what
	// other open uploads still need, is refused when it is opened; one of unknown
	// length waits where it is. Only Linux says how much is free. Default 0.
	Reserve int64

	// ExpireUnfinished is how long after its last change an upload that was
	// never finished, and that nobody has open, is removed: 1 s or more, default
	// 24 h, [Never] to keep it.
	ExpireUnfinished time.Duration

	// ExpireDelivered is how long the result of a delivered upload can be asked
	// for: 1 s or more, default 1 h, [Never] to keep it.
	ExpireDelivered time.Duration

	// OnExpire is told of every upload that was removed because it had expired.
	// It must not block for long, nor close the store. Nil: nobody is.
	OnExpire func(resume.State)

	// OnCommit is told how long each trip to the disk took behind which bytes of
	// an upload, or what became of it, were durable. It must not block. Nil:
	// nobody is.
	OnCommit func(took time.Duration)

	// ScanInterval is how often the directory is looked through for what has
	// expired: 1 s or more, default 10 min, [Never] for not at all.
	ScanInterval time.Duration
}

// expiry returns how long after its last change an upload is removed; Never for
// what is complete and was not taken yet, since its client may think it safe.
func (o Options) expiry(p resume.Phase) time.Duration {
	switch p {
	case resume.Receiving:
		return o.ExpireUnfinished
	case resume.Delivered:
		return o.ExpireDelivered
	}
	return Never
}

func (o Options) withDefaults() (Options, error) {
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	if o.OnCommit == nil {
		o.OnCommit = func(time.Duration) {}
	}
	if o.SyncBytes == 0 {
		o.SyncBytes = 8 << 20
	}
	if o.SyncBytes < 64<<10 || o.SyncBytes > 1<<30 {
		return o, fmt.Errorf("filestore: SyncBytes is %d, allowed is %d (64 KiB) to %d (1 GiB)", o.SyncBytes, 64<<10, 1<<30)
	}
	if o.Reserve < 0 {
		return o, fmt.Errorf("filestore: Reserve is %d, allowed is 0 or more", o.Reserve)
	}
	if o.SyncInterval == 0 {
		o.SyncInterval = 200 * time.Millisecond
	}
	if o.SyncInterval < time.Millisecond || o.SyncInterval > time.Minute {
		return o, fmt.Errorf("filestore: SyncInterval is %v, allowed is 1ms to 1m", o.SyncInterval)
	}
	for _, d := range []struct {
		name  string
		value *time.Duration
		def   time.Duration
	}{
		{"ExpireUnfinished", &o.ExpireUnfinished, 24 * time.Hour},
		{"ExpireDelivered", &o.ExpireDelivered, time.Hour},
		{"ScanInterval", &o.ScanInterval, 10 * time.Minute},
	} {
		switch {
		case *d.value == 0:
			*d.value = d.def
		case *d.value > 0 && *d.value < time.Second:
			return o, fmt.Errorf("filestore: %s is %v, allowed is 1s or more, or a negative value for never", d.name, *d.value)
		}
	}
	return o, nil
}
