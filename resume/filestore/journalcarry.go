package filestore

import (
	"errors"
	"os"

	"go.uber.org/zap"

	"github.com/wsingest/wsingest/resume"
)

// The journal stays below a bound: where a quarter or less of it is alive, what
// is alive in the oldest segment is carried to the newest, and the oldest goes.
// Some segments are always let be: what is settled soon need not be carried. The
// same goes for segments that are nearly empty, of which every start leaves one.
const (
	carryAbove = 4         // segments, and times what is alive
	carryBatch = 256 << 10 // bytes at a time, about
	carryLooks = 4096      // uploads looked at, at a time
)

// carrier goes through the oldest segment.
type carrier struct {
	seg *segment
	ids []resume.ID // that were not looked at yet
}

// carry returns some of what is alive in the oldest segment, to be written
// again: little enough that nobody notices, and so much that the segment is
// through before as much is written anew.
func (j *journal) carry() (carried []*entry) {
	if j.moving == nil && !j.due() {
		return nil
	}
	if j.moving == nil {
		j.moving = &carrier{j.segments[0], j.segments[0].ids}
	}
	j.mu.RLock()
	defer j.mu.RUnlock()
	m, seen := j.moving, make(map[resume.ID]bool)
	for looks, size := 0, 0; len(m.ids) > 0 && looks < carryLooks && size < carryBatch; looks++ {
		id := m.ids[0]
		m.ids = m.ids[1:]
		if seen[id] || !j.held[id].in(m.seg) {
			continue
		}
		e, err := j.whole(id)
		if err != nil {
			j.log.Error("a part of the journal cannot be read: the journal grows until the next start", zap.String("upload", string(id)), zap.Error(err))
			j.stuck, j.moving = true, nil
			return carried
		}
		seen[id] = true
		size += e.size()
		carried = append(carried, e)
	}
	return carried
}

// due reports whether the oldest segment has to go.
func (j *journal) due() bool {
	if j.stuck || len(j.segments) < 2 || j.segments[0] == j.active {
		return false
	}
	size := int64(0)
	for _, seg := range j.segments {
		size += seg.used
	}
	n := int64(len(j.segments))
	return size > carryAbove*max(j.size, j.alive) || n > 2*carryAbove && size < n*j.size/4
}

// retire removes the oldest segment once nothing in it is alive. Its name has
// to be gone for good before the next one goes: in that may be what says that
// an upload in this one is no more.
func (j *journal) retire() {
	if j.moving == nil || len(j.moving.ids) > 0 {
		return
	}
	j.moving = nil
	j.mu.Lock()
	seg := j.segments[0]
	j.segments = j.segments[1:]
	j.mu.Unlock()
	err := errors.Join(seg.file.Close(), j.fs.Remove(j.path(seg.number)))
	if err == nil || errors.Is(err, os.ErrNotExist) {
		err = j.fs.SyncDir(j.dir)
	}
	if err != nil {
		j.stuck, j.unsure = true, true
		j.log.Error("a segment of the journal cannot be removed: the journal grows until the next start", zap.Error(err))
	}
}
