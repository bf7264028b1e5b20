package caddymodule

import (
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"

	"github.com/wsingest/wsingest/middleware"
	"github.com/wsingest/wsingest/resume"
	"github.com/wsingest/wsingest/resume/filestore"
)

// StoreModule is a module in the namespace http.ws_ingest.stores: where
// uploads are kept. A store is opened once, however many handlers name it, and
// stays open over reloads for as long as one does.
type StoreModule interface {
	caddy.Module

	// StoreKey identifies the storage, such as a directory: modules with the same
	// key share what the first of them has opened.
	StoreKey() string

	// OpenStore opens it. An error that is an ErrStoreInUse is tried again when
	// the first upload comes. The logger is that of the live config, whichever
	// that is.
	OpenStore(o StoreOptions) (resume.Store, error)
}

// StoreOptions is what a store gets to open.
type StoreOptions struct {
	Logger *zap.Logger
	// OnExpire is to be told of every upload that the store removed because its
	// time was over.
	OnExpire func(resume.State)
	// OnCommit is to be told how long it took to make bytes durable, where that is
	// a trip to a disk.
	OnCommit func(took time.Duration)
}

// ErrStoreInUse: another process has the store, which may be one that is about
// to end, or the one that `caddy validate` runs beside.
var ErrStoreInUse = filestore.ErrInUse

// FileStore keeps uploads in a directory on a local disk. It survives crashes
// and loss of power: what a client was told to be stored is.
type FileStore struct {
	// The directory. Files published below another directory on the same file
	// system need no copying. Default: `ws_ingest` below Caddy's data directory.
	Path string `json:"path,omitempty"`

	// How long after its last change an upload that was not finished, and that
	// nobody has open, is removed; negative: never. Default: 24h.
	Expire caddy.Duration `json:"expire,omitempty"`

	// How many bytes uploads leave free of the disk. One whose length does not fit
	// beside them is refused when it is opened; one of unknown length waits.
	// Default: 0.
	Reserve int64 `json:"reserve,omitempty"`

	// How many bytes of an upload are written before they are synced to the disk,
	// 64 KiB to 1 GiB. Default: 8 MiB.
	SyncBytes int64 `json:"sync_bytes,omitempty"`

	// How long a byte may wait for that sync, 1ms to 1m. Default: 200ms.
	SyncInterval caddy.Duration `json:"sync_interval,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (*FileStore) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.ws_ingest.stores.file",
		New: func() caddy.Module { return new(FileStore) },
	}
}

// Provision finds the directory.
func (s *FileStore) Provision(caddy.Context) (err error) {
	s.Path = caddy.NewReplacer().ReplaceKnown(s.Path, "")
	if s.Path == "" {
		s.Path = filepath.Join(caddy.AppDataDir(), "ws_ingest")
	}
	s.Path, err = filepath.Abs(s.Path)
	return err
}

// StoreKey implements StoreModule.
func (s *FileStore) StoreKey() string { return "file:" + s.Path }

// OpenStore implements StoreModule.
func (s *FileStore) OpenStore(o StoreOptions) (resume.Store, error) {
	return filestore.New(s.Path, filestore.Options{
		Logger:           o.Logger,
		OnExpire:         o.OnExpire,
		OnCommit:         o.OnCommit,
		ScanInterval:     s.scanInterval(),
		ExpireUnfinished: time.Duration(s.Expire),
		Reserve:          s.Reserve,
		SyncBytes:        s.SyncBytes,
		SyncInterval:     time.Duration(s.SyncInterval),
	})
}

// scanInterval has a short expiry kept in time.
func (s *FileStore) scanInterval() time.Duration {
	if s.Expire <= 0 {
		return 0 // the default
	}
	return min(max(time.Duration(s.Expire)/10, time.Second), 10*time.Minute)
}

// stores are the open stores by their key. The lock is held while one is
// opened or closed, so that who opens a directory again finds it closed.
var stores = struct {
	sync.Mutex
	*caddy.UsagePool
}{UsagePool: caddy.NewUsagePool()}

// store is an open store, or one that could not be opened yet.
type store struct {
	module     StoreModule
	log        *liveLog
	deliveries middleware.Deliveries
	tell       eventQueue // what happens to uploads nobody has open

	mu        sync.Mutex
	open      resume.Store
	unwatched func() // its space is told no more
}

// takeStore returns the store of module, opened if this process has not opened
// it already. releaseStore is to be called once for each.
func takeStore(module StoreModule) (*store, error) {
	stores.Lock()
	defer stores.Unlock()
	v, _, err := stores.LoadOrNew(module.StoreKey(), func() (caddy.Destructor, error) {
		return &store{module: module, log: new(liveLog)}, nil
	})
	if err != nil {
		return nil, err
	}
	return v.(*store), nil
}

func (s *store) release() error {
	stores.Lock()
	defer stores.Unlock()
	_, err := stores.Delete(s.module.StoreKey())
	return err
}

// get opens the store if it is not open.
func (s *store) get() (resume.Store, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open != nil {
		return s.open, nil
	}
	opened, err := s.module.OpenStore(StoreOptions{Logger: s.log.logger(), OnExpire: s.expired, OnCommit: counted.Commit})
	if err != nil {
		return nil, fmt.Errorf("the store of uploads cannot be opened: %w", err)
	}
	s.open = opened
	s.unwatched = counted.WatchStore(s.module.StoreKey(), opened)
	return opened, nil
}

// expired tells of an upload that was never finished. That the answer to one
// that was is forgotten some day is nobody's news.
func (s *store) expired(st resume.State) {
	if st.Phase == resume.Receiving {
		s.tell.emit(expiredEvent, st)
	}
}

// Destruct closes the store.
func (s *store) Destruct() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		return nil
	}
	s.unwatched()
	return s.open.Close()
}

// sameOptions warns where a store stays open with the options it had.
func (s *store) sameOptions(module StoreModule, log *zap.Logger) {
	was, ok1 := s.module.(*FileStore)
	is, ok2 := module.(*FileStore)
	if ok1 && ok2 && *was != *is {
		log.Warn("the store is open with other options (expire, sync, reserve), which stay until it was closed: it is closed when no handler has named it, and no upload used it, for a moment, or when Caddy stops",
			zap.String("path", is.Path))
	}
}

var (
	_ StoreModule           = (*FileStore)(nil)
	_ caddy.Provisioner     = (*FileStore)(nil)
	_ caddyfile.Unmarshaler = (*FileStore)(nil)
	_ caddy.Destructor      = (*store)(nil)
)
