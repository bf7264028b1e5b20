package s3store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/minio/minio-go/v7"
	"go.uber.org/zap"
	"golang.org/x/sync/semaphore"

	"github.com/wsingest/wsingest/resume"
)

// Store is a [resume.Store] in a bucket.
type Store struct {
	opts   Options
	log    *zap.Logger
	bucket *bucket
	node   string // this store, among all that ever were

	work    context.Context // over when the store is closed
	stop    context.CancelFunc
	memory  *semaphore.Weighted
	sharing atomic.Int64  // uploads that are claimed, or have bytes in memory
	waiting atomic.Int64  // how many wait for some of it
	making  atomic.Bool   // somebody makes room for them
	hold    int64         // bytes a claim may have in memory, at the most
	putting chan struct{} // requests with a body under way

	copySize int64 // how much one request copies
	leaseFor time.Duration

	completes      sync.Mutex
	completesKnown bool // that the storage heeds conditions on that

	removing chan struct{}  // removals under way
	sweeping sync.WaitGroup // and those that wait

	mu      sync.Mutex
	closed  bool
	uploads map[resume.ID]*upload
	leased  map[resume.ID]bool // to be delivered by this node
	// tainted are uploads of which a request of this node may still arrive.
	tainted map[resume.ID]bool
	missing map[resume.ID]time.Time // since when the bytes of an upload are
	lost    int                     // uploads that failed while the store was closed
	drained chan struct{}           // closed when the store is closed and no upload is left
	janitor sync.WaitGroup
}

var _ resume.Store = (*Store)(nil)

// New opens the store in a bucket, which has to be there. It writes and removes
// a small object to see what the storage can do.
func New(o Options) (*Store, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	b, err := newBucket(o)
	if err != nil {
		return nil, err
	}
	s := &Store{
		opts: o, log: o.Logger, bucket: b, node: string(resume.NewID()),
		memory:   semaphore.NewWeighted(o.Memory),
		hold:     min(4*o.PartSize, max(o.Memory/4, blockSize)),
		copySize: copySize, leaseFor: leaseFor,
		putting: make(chan struct{}, 16), removing: make(chan struct{}, 8),
		uploads: map[resume.ID]*upload{},
		leased:  map[resume.ID]bool{},
		tainted: map[resume.ID]bool{},
		missing: map[resume.ID]time.Time{},
		drained: make(chan struct{}),
	}
	s.work, s.stop = context.WithCancel(context.Background())
	if err := s.probe(s.work); err != nil {
		s.stop()
		return nil, fmt.Errorf("s3store: %s/%s: %w", o.Endpoint, o.Bucket, err)
	}
	if o.ScanInterval > 0 {
		s.janitor.Go(s.scan)
	}
	return s, nil
}

func (s *Store) recordKey(id resume.ID) string { return s.opts.Prefix + "records/" + string(id) }

// dataKey returns a new key for bytes of an upload.
func (s *Store) dataKey(id resume.ID) string {
	return s.opts.Prefix + "data/" + string(id) + "/" + string(resume.NewID())
}

// read returns the record of an upload, and its ETag. One that is being deleted
// is returned with Gone set.
func (s *Store) read(ctx context.Context, id resume.ID) (*record, string, error) {
	body, etag, err := s.bucket.get(ctx, s.recordKey(id))
	if errors.Is(err, errNoKey) {
		return nil, "", resume.ErrNotFound
	}
	if err != nil {
		return nil, "", err
	}
	r, err := decodeRecord(body, id)
	return r, etag, err
}

// version is which record is in the bucket: the zero one is none.
type version struct{ etag, rev string }

// write puts a record in the place of a version. Whether an earlier try of it
// arrived, its revision tells. errCondition: somebody else wrote.
func (s *Store) write(ctx context.Context, r *record, was version) (version, error) {
	r.Node, r.Rev = s.node, string(resume.NewID())
	body, err := json.Marshal(r)
	if err != nil {
		return version{}, err
	}
	is, key := version{rev: r.Rev}, s.recordKey(r.ID)
	if s.opts.Weak {
		is.etag, err = s.writeWeak(ctx, key, body)
		return is, err
	}
	// An ETag may have been damaged on its way to here. With the right one from
	// a second look, a write that still fails is by somebody else.
	for range 3 {
		err = s.bucket.try(ctx, "PUT "+key, int64(len(body)), func(ctx context.Context) error {
			is.etag, err = s.bucket.putIf(ctx, key, body, was.etag)
			return err
		})
		if !errors.Is(err, errCondition) && !errors.Is(err, errNoKey) {
			return is, err
		}
		there, etag, err := s.read(ctx, r.ID)
		switch {
		case errors.Is(err, resume.ErrNotFound):
			return version{}, errCondition
		case err != nil:
			return version{}, err
		case there.Rev == r.Rev:
			is.etag = etag
			return is, nil
		case there.Rev != was.rev:
			return version{}, errCondition
		}
		was.etag = etag
	}
	return version{}, errCondition
}

func (s *Store) writeWeak(ctx context.Context, key string, body []byte) (etag string, err error) {
	err = s.bucket.try(ctx, "PUT "+key, int64(len(body)), func(ctx context.Context) error {
		etag, err = s.bucket.putSmall(ctx, key, body, minio.PutObjectOptions{ContentType: "application/json"})
		return err
	})
	return etag, err
}

// Stat implements [resume.Store].
func (s *Store) Stat(ctx context.Context, id resume.ID) (resume.State, error) {
	if _, err := resume.ParseID(string(id)); err != nil {
		return resume.State{}, err
	}
	r, _, err := s.read(ctx, id)
	if st, ok := s.live(id); ok && (err != nil || r.Node == s.node || r.Epoch <= st.Epoch && !r.Gone) {
		return st, nil // with what is received, and nobody else has it since
	}
	if err == nil && r.Gone {
		err = resume.ErrNotFound
	}
	if err != nil {
		return resume.State{}, fmt.Errorf("upload %s: %w", id, err)
	}
	return r.state(s.opts), nil
}

// live returns the state of an upload that somebody has open here.
func (s *Store) live(id resume.ID) (resume.State, bool) {
	s.mu.Lock()
	u := s.uploads[id]
	s.mu.Unlock()
	if u == nil {
		return resume.State{}, false
	}
	select {
	case <-u.ready:
	default:
		return resume.State{}, false
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.dead != nil || !u.exists || u.loadErr != nil {
		return resume.State{}, false
	}
	return u.state(), true
}

// All implements [resume.Store].
func (s *Store) All(ctx context.Context) iter.Seq2[resume.State, error] {
	return func(yield func(resume.State, error) bool) {
		for key, err := range s.bucket.list(ctx, s.opts.Prefix+"records/") {
			if err != nil {
				yield(resume.State{}, err)
				return
			}
			st, err := s.Stat(ctx, resume.ID(strings.TrimPrefix(key.Key, s.opts.Prefix+"records/")))
			if errors.Is(err, resume.ErrNotFound) || errors.Is(err, resume.ErrBadID) {
				continue // deleted meanwhile, or not of this package
			}
			if !yield(st, err) {
				return
			}
		}
	}
}

// list yields the objects below a prefix.
func (b *bucket) list(ctx context.Context, prefix string) iter.Seq2[minio.ObjectInfo, error] {
	return func(yield func(minio.ObjectInfo, error) bool) {
		for token := ""; ; {
			var page minio.ListBucketV2Result
			err := b.try(ctx, "list "+prefix, 0, func(context.Context) (err error) {
				page, err = b.ListObjectsV2(b.name, prefix, "", token, "", 1000)
				return err
			})
			if err != nil {
				yield(minio.ObjectInfo{}, err)
				return
			}
			for _, o := range page.Contents {
				if !yield(o, nil) {
					return
				}
			}
			if !page.IsTruncated || page.NextContinuationToken == "" {
				return
			}
			token = page.NextContinuationToken
		}
	}
}

// Close implements [resume.Store].
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	var all []*upload
	for _, u := range s.uploads {
		all = append(all, u)
	}
	if len(all) == 0 {
		close(s.drained)
	}
	s.mu.Unlock()
	for _, u := range all {
		u.mu.Lock()
		u.endClaims(resume.Everything, resume.ErrClosed)
		u.wake()
		u.unlock()
	}
	<-s.drained
	s.sweeping.Wait()
	s.stop()
	s.janitor.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lost > 0 {
		return fmt.Errorf("s3store: the storage failed; %d uploads go on from what was durable before", s.lost)
	}
	return nil
}
