package s3store

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"go.uber.org/zap"

	"github.com/wsingest/wsingest/resume"
)

// lease is the object that says which node looks through the bucket.
type lease struct {
	Node  string    `json:"node"`
	Until time.Time `json:"until"`
}

// scan looks through the bucket every ScanInterval, if no other node does.
func (s *Store) scan() {
	ticker := time.NewTicker(s.opts.ScanInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-s.work.Done():
			return
		}
		mine, err := s.takeLease(s.work)
		if mine {
			err = s.clean(s.work)
		}
		if err != nil && s.work.Err() == nil {
			s.log.Warn("the bucket cannot be looked through for what has expired", zap.Error(err))
		}
	}
}

// takeLease makes this node the one for a bit more than a ScanInterval, unless
// another is.
func (s *Store) takeLease(ctx context.Context) (bool, error) {
	key := s.opts.Prefix + "janitor"
	body, etag, err := s.bucket.get(ctx, key)
	var l lease
	switch {
	case err == nil:
		if json.Unmarshal(body, &l) == nil && l.Node != s.node && time.Now().Before(l.Until) {
			return false, nil
		}
	case !errors.Is(err, errNoKey):
		return false, err
	}
	body, err = json.Marshal(lease{Node: s.node, Until: time.Now().Add(s.opts.ScanInterval * 3 / 2)})
	if err != nil {
		return false, err
	}
	if s.opts.Weak {
		_, err = s.writeWeak(ctx, key, body)
		return err == nil, err
	}
	_, err = s.bucket.putIf(ctx, key, body, etag)
	if errors.Is(err, errCondition) {
		return false, nil
	}
	return err == nil, err
}

// orphaned is the age from which bytes that no record names are nobody's. A
// record follows its bytes within a few times RetryFor.
func (s *Store) orphaned() time.Duration {
	return 60*s.opts.RetryFor + patience(s.opts.PartSize)
}

// clean removes what has expired, and what nobody needs.
func (s *Store) clean(ctx context.Context) error {
	records := s.opts.Prefix + "records/"
	for o, err := range s.bucket.list(ctx, records) {
		if err != nil {
			return err
		}
		id, err := resume.ParseID(strings.TrimPrefix(o.Key, records))
		if err != nil {
			continue // not of this package
		}
		if err := s.expire(ctx, id); err != nil {
			s.log.Warn("upload cannot be looked at", zap.String("upload", string(id)), zap.Error(err))
		}
	}
	return errors.Join(s.cleanObjects(ctx), s.cleanParts(ctx))
}

// expire removes an upload whose time is over, also one whose deletion was
// broken off.
func (s *Store) expire(ctx context.Context, id resume.ID) error {
	r, _, err := s.read(ctx, id)
	switch {
	case errors.Is(err, resume.ErrNotFound):
		return nil
	case err != nil:
		return err
	case r.Gone && time.Since(fromSeconds(r.Updated)) > deleting:
		return s.removeGone(ctx, r)
	case r.Gone || !expired(r.state(s.opts)):
		return nil
	}
	var st resume.State
	err = s.inTurn(ctx, id, func(u *upload) error {
		return u.delete(func() bool {
			st = u.state()
			return len(u.claims) == 0 && len(u.blocks) == 0 && expired(st)
		})
	})
	if errors.Is(err, errKept) || errors.Is(err, resume.ErrNotFound) {
		return nil
	}
	if err == nil {
		s.log.Info("upload expired", zap.String("upload", string(id)), zap.String("phase", string(st.Phase)))
		if s.opts.OnExpire != nil {
			s.opts.OnExpire(st)
		}
	}
	return err
}

func expired(st resume.State) bool { return !st.Expires.IsZero() && time.Now().After(st.Expires) }

// removeGone removes what a node that died had only marked.
func (s *Store) removeGone(ctx context.Context, r *record) error {
	var err error
	if r.Parts != nil {
		err = s.bucket.abort(ctx, r.Parts)
	}
	for _, o := range r.Objects {
		err = errors.Join(err, s.bucket.remove(ctx, o.Key))
	}
	if err != nil {
		return err
	}
	return s.bucket.remove(ctx, s.recordKey(r.ID))
}

// cleanObjects removes old objects that no record names.
func (s *Store) cleanObjects(ctx context.Context) error {
	var id resume.ID
	var named []string
	for o, err := range s.bucket.list(ctx, s.opts.Prefix+"data/") {
		if err != nil {
			return err
		}
		of, ok := s.owner(o.Key)
		if !ok || time.Since(o.LastModified) < s.orphaned() {
			continue
		}
		if of != id {
			names, err := s.names(ctx, of)
			if err != nil {
				return err
			}
			id, named = of, names
		}
		if !slices.Contains(named, o.Key) {
			s.log.Info("object removed that no upload needs", zap.String("key", o.Key))
			if err := s.bucket.remove(ctx, o.Key); err != nil {
				return err
			}
		}
	}
	return nil
}

// cleanParts ends old multipart uploads that no record names.
func (s *Store) cleanParts(ctx context.Context) error {
	prefix := s.opts.Prefix + "data/"
	var old []multipart
	for keyMarker, idMarker := "", ""; ; {
		var page minio.ListMultipartUploadsResult
		err := s.bucket.try(ctx, "list multipart uploads", 0, func(ctx context.Context) (err error) {
			page, err = s.bucket.ListMultipartUploads(ctx, s.bucket.name, prefix, keyMarker, idMarker, "", 1000)
			return err
		})
		if err != nil {
			return err
		}
		for _, m := range page.Uploads {
			if time.Since(m.Initiated) >= s.orphaned() {
				old = append(old, multipart{Key: m.Key, UploadID: m.UploadID})
			}
		}
		if !page.IsTruncated {
			break
		}
		keyMarker, idMarker = page.NextKeyMarker, page.NextUploadIDMarker
	}
	for _, m := range old {
		id, ok := s.owner(m.Key)
		if !ok {
			continue
		}
		if _, err := s.abortUnnamed(ctx, id, m, ""); err != nil {
			return err
		}
	}
	return nil
}

// abortUnnamed ends a multipart upload that the record does not name, nor can any
// more: while the record is the one before, one that names it may arrive still.
func (s *Store) abortUnnamed(ctx context.Context, id resume.ID, m multipart, before string) (done bool, err error) {
	r, _, err := s.read(ctx, id)
	if errors.Is(err, resume.ErrNotFound) {
		r, err = new(record), nil
	}
	if err != nil || r.Parts != nil && r.Parts.UploadID == m.UploadID || before != "" && r.Rev == before {
		return false, err
	}
	return true, s.bucket.abort(ctx, &m)
}

// forsake ends the multipart upload of this node after another has taken the
// upload. While the record names it still, the other is about to complete it. A
// late part may have brought it to life again after that (versitygw 1.8.0).
// before is the revision of a record that may still be followed by one of this
// node that names it.
func (s *Store) forsake(id resume.ID, m multipart, before string) {
	for range 5 {
		if done, err := s.abortUnnamed(s.work, id, m, before); done || err != nil {
			return // with an error the janitor does it
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-s.work.Done():
			return
		}
	}
}

// owner returns the upload that a key of bytes belongs to.
func (s *Store) owner(key string) (resume.ID, bool) {
	name, _, ok := strings.Cut(strings.TrimPrefix(key, s.opts.Prefix+"data/"), "/")
	id, err := resume.ParseID(name)
	return id, ok && err == nil
}

// names returns the keys of bytes that a record names.
func (s *Store) names(ctx context.Context, id resume.ID) (keys []string, err error) {
	r, _, err := s.read(ctx, id)
	if errors.Is(err, resume.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for _, o := range r.Objects {
		keys = append(keys, o.Key)
	}
	if r.Parts != nil {
		keys = append(keys, r.Parts.Key) // Complete may have made an object of it already
	}
	return keys, nil
}
