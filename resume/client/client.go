package client

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"go.uber.org/zap"

	"github.com/wsingest/wsingest/resume"
	"github.com/wsingest/wsingest/resume/logqueue"
)

// Client uploads to one URL. Uploads that are under way at the same time share
// one connection: their messages follow each other without waiting for
// answers, so that a thousand small files take few round trips. The connection
// is made when the first upload needs it and stays until Close.
type Client struct {
	place string // the URL without credentials: what state files know
	o     Options
	log   *zap.Logger
	lines *logqueue.Queue // behind log
	dial  *dialer
	retry *retrier

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup

	filling chan struct{} // held by the one upload that lanes fill
	ending  chan struct{} // held by the one that a lane finishes
	ghosts  ghosts

	work chan struct{} // poked when there is an upload to send
	conn atomic.Pointer[conn]

	mu      sync.Mutex
	closed  bool
	running bool
	active  map[string]bool // ids of uploads that were not returned yet
	queue   []*transfer     // to be sent, or waiting for done, in the order they came
}

// New returns a client for the upload route at url: ws, wss, http or https.
// It connects to nothing yet.
func New(url string, o Options) (*Client, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	d, err := newDialer(url, &o)
	if err != nil {
		return nil, err
	}
	log, lines := logqueue.New(o.Logger)
	c := &Client{place: d.place, o: o, log: log, lines: lines, dial: d, retry: newRetrier(o.Retry, log),
		filling: make(chan struct{}, 1), ending: make(chan struct{}, 1), work: make(chan struct{}, 1), active: map[string]bool{}}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c, nil
}

// Upload sends one source to the upload route at url and returns when the
// server has it all, on stable storage, and whoever it delivers it to has
// answered. See [Client.Upload].
func Upload(ctx context.Context, url string, src *Source, o Options) (*Result, error) {
	c, err := New(url, o)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.Upload(ctx, src)
}

// UploadFile sends the file at path. See [Upload].
func UploadFile(ctx context.Context, url, path string, o Options) (*Result, error) {
	src, err := OpenFile(path)
	if err != nil {
		return nil, err
	}
	defer src.Close()
	return Upload(ctx, url, src, o)
}

// Upload sends src and returns when the server has confirmed all of it. It may
// be called from several goroutines at a time.
//
// Connections that break or stall are replaced, and the upload goes on where
// the server says, until Options.Retry is exhausted. When ctx ends, Upload
// returns at once with its error, and the upload can be resumed; see
// [Resumable] and the variables of this package for what else it may fail with.
// src is not touched after Upload returned, but for a Read of a Reader that was
// under way.
func (c *Client) Upload(ctx context.Context, src *Source) (*Result, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := src.validate(); err != nil {
		return nil, err
	}
	t, err := c.prepare(src)
	if err != nil {
		return nil, &uploadError{src.Name, src.ID, err}
	}
	r, err := c.drive(ctx, t)
	if err != nil && errors.Is(err, ErrDigestMismatch) {
		if changed := src.unchanged(); changed != nil {
			err = fmt.Errorf("%w; %w", changed, err)
		} else if t.gaps.Load() {
			err = fmt.Errorf("%w, or was damaged on its way: %w", ErrSourceChanged, err)
		}
	}
	if spent(err) {
		t.state.remove()
	}
	if err != nil {
		c.log.Info("upload ended", zap.String("id", t.id), zap.String("name", src.Name), zap.Error(err))
		return nil, &uploadError{src.Name, t.id, err}
	}
	c.log.Info("upload done", zap.String("id", t.id), zap.String("name", src.Name), zap.Int64("length", r.Length))
	return r, nil
}

// prepare makes a transfer of src, new or one that another process began.
func (c *Client) prepare(src *Source) (*transfer, error) {
	t := &transfer{c: c, src: src, id: src.ID, lanes: 1, settled: make(chan struct{})}
	if src.ReaderAt != nil {
		t.file = &fileFeed{src: src}
		t.feed = t.file
		if c.o.Lanes > 1 && src.Size >= leastForLanes {
			t.lanes = c.o.Lanes
		}
	} else {
		t.feed = newRetention(src, c.o.Retention, c.o.WantDigest, t.poke)
	}
	if path := statePath(c.place, src, c.o.StateDir); path != "" {
		if err := t.recall(path); err != nil {
			return nil, err
		}
	}
	if t.id == "" {
		t.id, t.fresh = string(resume.NewID()), true
	}
	if t.state != nil {
		t.state.ID = t.id
		if err := t.state.save(); err != nil {
			return nil, fmt.Errorf("state file: %w", err)
		}
	}
	if t.file != nil && c.o.WantDigest {
		t.sha = newHasher(t.file)
	}
	t.ctx, t.cancel = context.WithCancel(c.ctx)
	return t, nil
}

// recall reads the state that an earlier upload of the same source left, and
// takes over its id.
func (t *transfer) recall(path string) error {
	now, err := describe(path, t.c.place, t.file)
	if err != nil {
		return err
	}
	old, err := now.load()
	if err != nil {
		return err
	}
	t.state = now
	if old == nil || t.id != "" && t.id != old.ID {
		return nil
	}
	if old.URL != t.c.place {
		return fmt.Errorf("state file %s belongs to an upload to %s (remove it to upload anew)", path, old.URL)
	}
	if err := now.sameSource(old); err != nil {
		old.remove()
		return err
	}
	t.id = old.ID
	return nil
}

// drive sees t through to its end.
func (c *Client) drive(ctx context.Context, t *transfer) (*Result, error) {
	defer t.release()
	if err := c.admit(t); err != nil {
		return nil, err
	}
	defer c.dismiss(t)
	r, err := t.wait(ctx)
	if err == nil {
		err = t.verify(ctx, r)
	}
	if err != nil {
		return nil, err
	}
	r.ResumedFrom, r.Reconnects = t.resumedFrom.Load(), int(t.reconnects.Load())
	return r, nil
}

// admit lets t in and starts what sends it.
func (c *Client) admit(t *transfer) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return ErrClosed
	}
	if c.active[t.id] {
		return ErrBusy
	}
	c.active[t.id] = true
	if t.lanes > 1 {
		c.startFill(t)
		return nil
	}
	c.enqueueLocked(t)
	return nil
}

// dismiss forgets t.
func (c *Client) dismiss(t *transfer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.active, t.id)
	c.unqueueLocked(t)
	c.poke()
}

// Close ends the connection, and uploads under way with ErrClosed: they can be
// resumed. It takes a second at most, and another where the log cannot be
// written.
func (c *Client) Close() error {
	defer c.lines.Flush()
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.cancel()
	c.wg.Wait()
	c.settleAll(ErrClosed)
	return nil
}
