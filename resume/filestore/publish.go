package filestore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"go.uber.org/zap"

	"github.com/wsingest/wsingest/resume"
)

// Publish implements [resume.Publisher]. dir has to be there. On the file
// system of the store the file gets a second name, which costs nothing; on
// another, or where there are no hard links, it is copied. Without hard links,
// and but for Linux, ConflictRename and ConflictFail may replace a file that
// another process creates under that name in the same moment.
//
// The file is readable by its owner alone (0600).
func (s *Store) Publish(ctx context.Context, id resume.ID, dir, name string, conflict resume.Conflict) (string, error) {
	u, err := s.acquire(ctx, id)
	if err != nil {
		return "", err
	}
	defer u.release()
	t, err := s.target(dir, name, conflict)
	if err != nil {
		return "", u.wrap(err)
	}
	location, err := u.publish(ctx, t)
	if err != nil {
		return "", u.wrap(err)
	}
	return location, nil
}

// target is where a file is to be published.
type target struct {
	dir, name string
	conflict  resume.Conflict
}

func (s *Store) target(dir, name string, conflict resume.Conflict) (t target, err error) {
	switch conflict {
	case resume.ConflictRename, resume.ConflictOverwrite, resume.ConflictFail:
	default:
		return t, fmt.Errorf("conflict is %q, allowed are %q, %q and %q", conflict,
			resume.ConflictRename, resume.ConflictOverwrite, resume.ConflictFail)
	}
	if name != filepath.Base(name) || !filepath.IsLocal(name) || name == "." {
		return t, fmt.Errorf("name %q is not one path element", name)
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return t, err
	}
	return target{dir, name, conflict}, nil
}

func (u *upload) publish(ctx context.Context, t target) (string, error) {
	if err := u.takeTurn(ctx); err != nil {
		return "", err
	}
	defer u.endTurn()
	u.mu.Lock()
	defer u.unlock()
	p := u.now.publish
	switch {
	case u.exists && p != nil && p.Done:
		return string(p.Path), nil
	case u.dead != nil:
		return "", u.dead
	}
	if err := u.needComplete(); err != nil {
		return "", err
	}
	if err := u.toFiles(ctx); err != nil {
		return "", err
	}
	// What a call before the crash began, if there was one.
	if p != nil {
		there, err := u.isPublished(*p)
		if err != nil {
			return "", err
		}
		if there {
			return u.published(ctx, *p)
		}
	}
	for n := range maxNames {
		p, err := u.publishAs(ctx, t, n)
		switch {
		case err == nil:
			return u.published(ctx, p)
		case !errors.Is(err, fs.ErrExist):
			return "", err
		case t.conflict != resume.ConflictRename:
			return "", fmt.Errorf("%w: %w", resume.ErrExists, err)
		}
	}
	return "", fmt.Errorf("%w: %d names like %q are taken in %s", resume.ErrExists, maxNames, t.name, t.dir)
}

// publishAs tries the n-th name: it writes down where the file goes, then puts
// it there. fs.ErrExist when the name is taken.
func (u *upload) publishAs(ctx context.Context, t target, n int) (intent, error) {
	path := filepath.Join(t.dir, numbered(t.name, n))
	p := intent{Path: text(path)}
	replace := t.conflict == resume.ConflictOverwrite
	if !replace {
		if err := u.unlocked(func() error { return u.store.free(path) }); err != nil {
			return p, err
		}
	}
	if err := u.intend(ctx, p); err != nil {
		return p, err
	}
	err := u.unlocked(func() error { return u.store.linkTo(u.id, path, replace) })
	if err == nil || errors.Is(err, fs.ErrExist) {
		return p, err
	}
	u.log.Debug("no second name for the file; it is copied", zap.String("path", path), zap.Error(err))
	p.Copied = true
	if err := u.intend(ctx, p); err != nil {
		return p, err
	}
	return p, u.unlocked(func() error { return u.store.copyTo(u.id, path, replace) })
}

func (u *upload) intend(ctx context.Context, p intent) error {
	u.next.publish = &p
	return u.recordNow(ctx)
}

// published makes the new name durable, and then that it was given.
func (u *upload) published(ctx context.Context, p intent) (string, error) {
	path := string(p.Path)
	if err := u.unlocked(func() error { return u.store.fs.SyncDir(filepath.Dir(path)) }); err != nil {
		return "", err
	}
	p.Done = true
	if err := u.intend(ctx, p); err != nil {
		return "", err
	}
	u.log.Info("file published", zap.String("path", path))
	return path, nil
}

// isPublished reports whether the file is where p wants it.
func (u *upload) isPublished(p intent) (there bool, err error) {
	crc, _ := u.state().CRC32C()
	length := u.info.Length
	err = u.unlocked(func() error {
		var err error
		if there, err = u.store.isPartAt(u.id, string(p.Path)); there || err != nil || !p.Copied {
			return err
		}
		there, err = u.store.hasContent(string(p.Path), length, crc)
		return err
	})
	return there, err
}

// unlocked calls f without mu; who calls has the turn.
func (u *upload) unlocked(f func() error) error {
	u.unlock()
	defer u.mu.Lock()
	return f()
}
