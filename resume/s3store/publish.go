package s3store

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"unicode/utf8"

	"go.uber.org/zap"

	"github.com/wsingest/wsingest/resume"
	"github.com/wsingest/wsingest/resume/internal/rules"
)

var _ resume.KeyPublisher = (*Store)(nil)

// published is where an upload goes, written down before it goes there: so
// whoever comes after a crash finds it by its mark.
type published struct {
	Key  string `json:"key"`
	Mark string `json:"mark"` // in the object's metadata
	Done bool   `json:"done,omitempty"`
}

// PublishKey implements [resume.KeyPublisher]. The bytes are copied within the
// storage, in parts. The object has the media type of the upload.
//
// ConflictRename and ConflictFail take a storage that knows If-None-Match when a
// multipart upload is completed; else the error is [ErrNoConditions], or with
// the option Weak an object may be replaced that somebody puts there in the same
// moment.
func (s *Store) PublishKey(ctx context.Context, id resume.ID, key string, conflict resume.Conflict) (final string, err error) {
	if err := s.checkKey(key); err != nil {
		return "", fmt.Errorf("upload %s: %w", id, err)
	}
	switch conflict {
	case resume.ConflictOverwrite:
	case resume.ConflictRename, resume.ConflictFail:
		if err := s.completesOnce(); err != nil {
			return "", fmt.Errorf("upload %s: %w", id, err)
		}
	default:
		return "", fmt.Errorf("upload %s: conflict is %q, allowed are %q, %q and %q", id, conflict,
			resume.ConflictRename, resume.ConflictOverwrite, resume.ConflictFail)
	}
	err = s.inTurn(ctx, id, func(u *upload) (err error) {
		final, err = u.publish(key, conflict)
		return err
	})
	return final, err
}

// maxKey is the longest key in bytes.
const maxKey = 1024

func (s *Store) checkKey(key string) error {
	if !utf8.ValidString(key) || len(key) > maxKey || path.Clean("/"+key) != "/"+key || key == "" {
		return fmt.Errorf("key %q is not elements with slashes between them, of at most %d bytes", key, maxKey)
	}
	for _, own := range []string{"records/", "data/", "probe/", "janitor"} {
		if strings.HasPrefix(key, s.opts.Prefix+own) {
			return fmt.Errorf("key %q is among those of the store: choose another folder", key)
		}
	}
	return nil
}

// maxNames bounds the search for a free key.
const maxNames = 10_000

// publish has the turn and mu, which it gives up meanwhile.
func (u *upload) publish(key string, conflict resume.Conflict) (string, error) {
	switch u.phase {
	case resume.Receiving:
		return "", resume.ErrNotComplete
	case resume.Delivered:
		return "", resume.ErrNotFound
	}
	if p := u.published; p != nil {
		there := p.Done
		if !there {
			var err error
			if there, err = u.isAt(*p); err != nil {
				return "", err
			}
		}
		if there {
			return p.Key, u.intend(published{Key: p.Key, Mark: p.Mark, Done: true})
		}
	}
	dir, name := path.Split(key)
	for n := range maxNames {
		p := published{Key: dir + rules.Numbered(name, n, maxKey-len(dir)), Mark: string(resume.NewID())}
		err := u.publishAs(p, conflict == resume.ConflictOverwrite)
		switch {
		case err == nil:
			p.Done = true
			if err := u.intend(p); err != nil {
				return "", err
			}
			u.log.Info("object published", zap.String("key", p.Key))
			return p.Key, nil
		case !errors.Is(err, errCondition):
			return "", err
		case conflict != resume.ConflictRename:
			return "", fmt.Errorf("%w: %s", resume.ErrExists, p.Key)
		}
	}
	return "", fmt.Errorf("%w: %d keys like %q are taken", resume.ErrExists, maxNames, key)
}

// publishAs tries one key; errCondition when it is taken.
func (u *upload) publishAs(p published, replace bool) error {
	if !replace {
		err := u.unlocked(func() error { return u.store.free(p.Key) })
		if err != nil {
			return err
		}
	}
	if err := u.intend(p); err != nil {
		return err
	}
	to := destination{key: p.Key, mark: p.Mark, kind: u.info.Type, replace: replace}
	from, size := "", u.info.Length
	if size > 0 {
		from = u.objects[0].Key
	}
	err := u.unlocked(func() error { return u.store.bucket.copyWhole(u.store.work, from, size, u.store.copySize, to) })
	if errors.Is(err, errCondition) || errors.Is(err, errNoUpload) {
		// It may be this one, whose answer was lost.
		there, headErr := u.isAt(p)
		switch {
		case headErr != nil:
			return headErr
		case there:
			return nil
		}
	}
	return err
}

// intend writes down where the upload goes, or that it is there.
func (u *upload) intend(p published) error {
	if u.published != nil && *u.published == p {
		return nil
	}
	before := u.published
	u.published = &p
	err := u.record(u.objects, nil)
	if err != nil {
		u.published = before
	}
	return err
}

// isAt reports whether the object is where p wants it.
func (u *upload) isAt(p published) (there bool, err error) {
	err = u.unlocked(func() error {
		mark, err := u.store.bucket.mark(u.store.work, p.Key)
		there = err == nil && mark == p.Mark
		return err
	})
	if errors.Is(err, errNoKey) {
		err = nil
	}
	return there, err
}

// free returns errCondition when there is something under a key.
func (s *Store) free(key string) error {
	_, err := s.bucket.mark(s.work, key)
	switch {
	case errors.Is(err, errNoKey):
		return nil
	case err == nil:
		return errCondition
	}
	return err
}

// unlocked calls f without mu; who calls has the turn.
func (u *upload) unlocked(f func() error) error {
	u.unlock()
	defer u.mu.Lock()
	return f()
}
