package s3store

import (
	"fmt"
	"net/http"
	"time"

	"github.com/minio/minio-go/v7/pkg/credentials"
	"go.uber.org/zap"

	"github.com/wsingest/wsingest/resume"
)

// Never, as one of the expiry durations of [Options], keeps forever.
const Never time.Duration = -1

// Options say where the bucket is and tune a [Store]. Endpoint and Bucket are
// needed; the rest works as it is.
type Options struct {
	// Endpoint is the host, with a port if it has one, of the storage.
	Endpoint string
	// Bucket has to be there.
	Bucket string
	// Prefix begins every key, such as "uploads/". Stores with the same bucket
	// and prefix are one. Default: none.
	Prefix string
	// Region of the bucket. Default: us-east-1, which most stores ignore.
	Region string
	// Insecure speaks HTTP instead of HTTPS.
	Insecure bool
	// Credentials to sign with. Default: the environment (AWS_ACCESS_KEY_ID,
	// AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN), else the role of the machine.
	Credentials *credentials.Credentials
	// Transport makes the requests. Default: one of the store's own.
	Transport http.RoundTripper

	// Weak takes a storage that ignores conditions on writes. Then nothing
	// keeps two nodes apart which hold the same upload at the same time: use it
	// with a single node, or with a balancer that sends an upload to the same
	// node always.
	Weak bool

	// Logger gets a message per event of an upload's life, with its id. Nil: no
	// logging.
	Logger *zap.Logger

	// PartSize is the least size of a part: 5 MiB, which is S3's own bound, to
	// 1 GiB, default 8 MiB. Parts of uploads above 10,000 times that are larger.
	PartSize int64

	// Memory is how many bytes of file data all uploads may hold on their way to
	// the storage: 16 MiB or more, default 256 MiB. When it is used up, parts
	// that are not full are written as objects to make room.
	Memory int64

	// SyncInterval is how long a byte may wait for its part to fill before it is
	// written as an object: 10 ms to 10 min, default 2 s. A longer one costs a
	// client that loses its connection more bytes; a shorter one costs requests
	// when clients are slow: two every SyncInterval for each.
	SyncInterval time.Duration

	// RetryFor is how long a request that fails is tried again, by the time of
	// its first try, before the upload is given up on this node: 1 s or more,
	// default 1 min. What a node that died left behind without a record is removed
	// after 60 times that, so all nodes should have the same.
	RetryFor time.Duration

	// ExpireUnfinished is how long after its last change an upload that was
	// never finished is removed: 1 s or more, default 24 h, [Never] to keep it.
	ExpireUnfinished time.Duration

	// ExpireDelivered is how long the result of a delivered upload can be asked
	// for: 1 s or more, default 1 h, [Never] to keep it.
	ExpireDelivered time.Duration

	// OnExpire is told of every upload that this node removed because it had
	// expired. It must not block for long, nor close the store. Nil: nobody is.
	OnExpire func(resume.State)

	// ScanInterval is how often the bucket is looked through for what has
	// expired, by one of the nodes: 1 s or more, default 10 min, [Never] for not
	// at all.
	ScanInterval time.Duration
}

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
	if o.Endpoint == "" {
		return o, fmt.Errorf("s3store: Endpoint is empty, expected a host such as s3.example.com")
	}
	if o.Bucket == "" {
		return o, fmt.Errorf("s3store: Bucket is empty")
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	if o.Region == "" {
		o.Region = "us-east-1"
	}
	if o.Credentials == nil {
		o.Credentials = credentials.NewChainCredentials([]credentials.Provider{
			&credentials.EnvAWS{}, &credentials.IAM{},
		})
	}
	for _, n := range []struct {
		name           string
		value          *int64
		def, low, high int64
	}{
		{"PartSize", &o.PartSize, 8 << 20, minPart, 1 << 30},
		{"Memory", &o.Memory, 256 << 20, 16 << 20, 1 << 50},
	} {
		if *n.value == 0 {
			*n.value = n.def
		}
		if *n.value < n.low || *n.value > n.high {
			return o, fmt.Errorf("s3store: %s is %d, allowed is %d to %d", n.name, *n.value, n.low, n.high)
		}
	}
	if o.SyncInterval == 0 {
		o.SyncInterval = 2 * time.Second
	}
	if o.SyncInterval < 10*time.Millisecond || o.SyncInterval > 10*time.Minute {
		return o, fmt.Errorf("s3store: SyncInterval is %v, allowed is 10ms to 10m", o.SyncInterval)
	}
	if o.RetryFor == 0 {
		o.RetryFor = time.Minute
	}
	if o.RetryFor < time.Second {
		return o, fmt.Errorf("s3store: RetryFor is %v, allowed is 1s or more", o.RetryFor)
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
			return o, fmt.Errorf("s3store: %s is %v, allowed is 1s or more, or a negative value for never", d.name, *d.value)
		}
	}
	return o, nil
}
