package middleware

import (
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/resume"
)

// overdue reports whether an upload should have been finished by now.
func (in *Ingest) overdue(created time.Time) bool {
	most := in.opts.MaxLifetime
	return most > 0 && time.Since(created) > most
}

// endOverdue has the upload at hand removed when it has had its time. What
// expires is what nobody touches: one that trickles for ever, a byte now and
// then, ends here.
func (s *session) endOverdue() {
	s.mu.Lock()
	up := s.up
	s.mu.Unlock()
	if up != nil && s.in.overdue(up.created) {
		s.queue.push(item{order: orderOverdue})
	}
}

// removeOverdue does that, on the worker.
func (s *session) removeOverdue() {
	up, _ := s.current()
	if up == nil || !s.in.overdue(up.created) || up.ended.Swap(true) {
		return
	}
	s.fail(refusal(up.id, s.in.deleteOverdue(up.id)))
	s.endUpload()
}

// deleteOverdue deletes an upload that has had its time, and returns what its client is told.
func (in *Ingest) deleteOverdue(id resume.ID) error {
	in.log.Info("an upload was not finished in time, and is removed", zap.String("upload", string(id)), zap.Duration("time", in.opts.MaxLifetime))
	if err := in.delete(id); err != nil {
		return err
	}
	return &protocol.Error{Code: protocol.NotFound, Detail: fmt.Sprintf(
		"The upload was not finished within %v, and was removed. Start it again under a new id, where there is time enough for it.", in.opts.MaxLifetime)}
}

// delete removes an upload, whoever has it open.
func (in *Ingest) delete(id resume.ID) error {
	if err := in.store.Delete(in.work, id); err != nil {
		if !errors.Is(err, resume.ErrNotFound) { // somebody was quicker
			in.log.Error("the upload could not be deleted", zap.String("upload", string(id)), zap.Error(err))
		}
		return err
	}
	if in.quota != nil {
		in.quota.release(id)
	}
	return nil
}

// tellLimits completes what ready says of an upload's limits.
func (s *session) tellLimits(l *protocol.Limits, up *upload) {
	o := s.in.opts
	if o.MaxLifetime > 0 {
		l.MaxLifetime = max(1, int64((o.MaxLifetime-time.Since(up.created))/time.Second))
	}
	l.MaxRate = o.Bandwidth.most()
}
