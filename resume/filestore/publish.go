package filestore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"go.uber.org/zap"

	"github.com/wsingest/wsingest/resume"
	"github.com/wsingest/wsingest/resume/internal/rules"
)

// Publish implements [resume.Publisher]. dir has to be there. On the file
// system of the store the file gets a second name, which costs nothing; on
// another, or where there are no hard links, it is copied. Without hard links or
// with an Owner, and but for Linux, ConflictRename and ConflictFail may replace a
// file that another process creates under that name in the same moment.
//
// Without a Mode the file is readable by its owner alone (0600). An Owner with
// another user takes a process that may give files away: that of root, or with
// CAP_CHOWN and CAP_DAC_READ_SEARCH, on Linux; a group takes one that is in it.
//
// Where a file is replaced that has a sidecar, the new sidecar stands beside the
// old file for a moment, or until the next try if the process ends in it.
func (s *Store) Publish(ctx context.Context, id resume.ID, dir, name string, o resume.PublishOptions) (string, error) {
	u, err := s.acquire(ctx, id)
	if err != nil {
		return "", err
	}
	defer u.release()
	t, err := s.target(dir, name, o)
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
	o         resume.PublishOptions
}

func (s *Store) target(dir, name string, o resume.PublishOptions) (t target, err error) {
	if err := o.Check(); err != nil {
		return t, err
	}
	if name != filepath.Base(name) || !filepath.IsLocal(name) || name == "." {
		return t, fmt.Errorf("name %q is not one path element", name)
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return t, err
	}
	return target{dir, name, o}, nil
}

// place returns the n-th place to try.
func (t target) place(u *upload, n int) place {
	most := maxName
	if t.o.Sidecar != nil {
		most -= len(resume.SidecarSuffix)
	}
	return place{u.store, u.id, filepath.Join(t.dir, rules.Numbered(t.name, n, most)), t.o}
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
		if err := u.unlocked(func() error { return u.store.dropSidecar(*p) }); err != nil {
			return "", err
		}
	}
	for n := range maxNames {
		p, err := u.publishAs(ctx, t, n)
		switch {
		case err == nil:
			return u.published(ctx, p)
		case !errors.Is(err, fs.ErrExist):
			return "", err
		case t.o.Conflict != resume.ConflictRename:
			return "", fmt.Errorf("%w: %w", resume.ErrExists, err)
		}
	}
	return "", fmt.Errorf("%w: %d names like %q are taken in %s", resume.ErrExists, maxNames, t.name, t.dir)
}

// publishAs tries the n-th name: it writes down where the file goes, then puts
// it there. fs.ErrExist when the name is taken.
func (u *upload) publishAs(ctx context.Context, t target, n int) (intent, error) {
	at := t.place(u, n)
	p := intent{Path: text(at.path), Sidecar: sidecarMark(t.o.Sidecar)}
	if err := u.unlocked(at.free); err != nil {
		return p, err
	}
	if err := u.intend(ctx, p); err != nil {
		return p, err
	}
	err := u.unlocked(at.link)
	if errors.Is(err, fs.ErrExist) {
		return p, err
	}
	if err != nil {
		u.log.Debug("no second name for the file; it is copied", zap.String("path", at.path), zap.Error(err))
		p.Copied = true
		if err := u.intend(ctx, p); err != nil {
			return p, err
		}
		if err := u.unlocked(at.copy); err != nil {
			return p, err
		}
	} else if at.atOnce() {
		return p, nil
	}
	err = u.unlocked(func() error {
		err := at.show(p.Copied)
		if err != nil {
			err = errors.Join(err, u.store.dropSidecar(p))
		}
		return err
	})
	return p, err
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
