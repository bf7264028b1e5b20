package filestore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"go.uber.org/zap"

	"github.com/wsingest/wsingest/resume"
	"github.com/wsingest/wsingest/resume/filestore/internal/vfs"
)

// content is a [resume.FileContent].
type content struct {
	readCloser
	store *Store
	id    resume.ID
	size  int64

	mu   sync.Mutex
	path string // "" while it is in no file
}

// readCloser is a file, or the bytes of a small upload.
type readCloser interface {
	io.ReaderAt
	io.Closer
}

// Content implements [resume.Store]. The result is a [resume.FileContent].
func (s *Store) Content(ctx context.Context, id resume.ID) (resume.Content, error) {
	u, err := s.acquire(ctx, id)
	if err != nil {
		return nil, err
	}
	defer u.release()
	u.mu.Lock()
	defer u.unlock()
	if err = u.needComplete(); err != nil {
		return nil, u.wrap(err)
	}
	f, path, err := u.openContent()
	if err != nil {
		return nil, u.wrap(err)
	}
	return &content{readCloser: f, store: s, id: id, size: u.info.Length, path: path}, nil
}

// needComplete checks that the upload's bytes are whole and here.
func (u *upload) needComplete() error {
	switch {
	case !u.exists || u.now.phase == resume.Delivered:
		return resume.ErrNotFound
	case u.now.phase == resume.Receiving:
		return resume.ErrNotComplete
	}
	return nil
}

// openContent opens the bytes of a complete upload. path is "" when they are in
// no file.
func (u *upload) openContent() (c readCloser, path string, err error) {
	small, moved, length, has := u.small, u.now.moved, u.info.Length, u.received()
	b, _ := u.part.(*buffer)
	err = u.unlocked(func() error {
		if small {
			c, err = u.store.openSmall(u.id, b, has)
			return err
		}
		c, path, err = u.store.openContent(u.id, moved, length)
		return err
	})
	return c, path, err
}

// openContent opens the bytes of a complete upload where they are: in the part
// file, or where Rename moved it.
func (s *Store) openContent(id resume.ID, moved string, length int64) (vfs.File, string, error) {
	path := s.partPath(id)
	f, err := s.fs.Open(path, os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) && moved != "" {
		path = moved
		f, err = s.fs.Open(path, os.O_RDONLY)
	}
	if err != nil {
		return nil, "", fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	info, err := f.Stat()
	if err == nil && info.Size() != length {
		err = fmt.Errorf("%w: %s has %d bytes, expected %d", ErrDamaged, path, info.Size(), length)
	}
	if err != nil {
		f.Close()
		return nil, "", err
	}
	return f, path, nil
}

// Size implements [resume.Content].
func (c *content) Size() int64 { return c.size }

// Path implements [resume.FileContent]. A small upload gets a file now. If that
// cannot be made, it is not there for who opens it either.
func (c *content) Path() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.path == "" {
		c.path = c.store.partPath(c.id)
		if err := c.store.toFiles(context.Background(), c.id); err != nil {
			c.store.log.Error("a small upload cannot get a file", zap.Error(err))
		}
	}
	return c.path
}

// Rename implements [resume.FileContent]. Where the file goes is recorded
// first, so that after a crash Content finds it at either place.
func (c *content) Rename(to string) error {
	to, err := filepath.Abs(to)
	if err != nil {
		return fmt.Errorf("upload %s: %w", c.id, err)
	}
	ctx := context.Background()
	u, err := c.store.acquire(ctx, c.id)
	if err != nil {
		return err
	}
	defer u.release()
	if err := u.move(ctx, c.Path(), to); err != nil {
		return u.wrap(err)
	}
	c.mu.Lock()
	c.path = to
	c.mu.Unlock()
	return nil
}

func (u *upload) move(ctx context.Context, from, to string) error {
	if err := u.takeTurn(ctx); err != nil {
		return err
	}
	defer u.endTurn()
	u.mu.Lock()
	err := u.needComplete()
	if err == nil {
		err = u.toFiles(ctx)
	}
	if err == nil && u.next.moved != to {
		u.next.moved = to
		err = u.recordNow(ctx)
	}
	u.unlock()
	if err != nil {
		return err
	}
	fsys := u.store.fs
	if from != to {
		err = fsys.Rename(from, to)
	}
	if errors.Is(err, syscall.EXDEV) {
		return fmt.Errorf("%s is on another file system than %s; copy the content instead: %w", to, u.store.dir, err)
	}
	if err != nil {
		return err
	}
	if err := fsys.SyncDir(filepath.Dir(to)); err != nil {
		return err
	}
	if dir := filepath.Dir(from); dir != filepath.Dir(to) {
		return fsys.SyncDir(dir)
	}
	return nil
}
