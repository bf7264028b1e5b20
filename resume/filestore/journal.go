package filestore

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"

	"go.uber.org/zap"

	"github.com/wsingest/wsingest/resume"
	"github.com/wsingest/wsingest/resume/filestore/internal/vfs"
)

const (
	// smallUpload is the length up to which uploads live in the journal.
	smallUpload = 64 << 10
	// segmentSize is how large a segment of the journal is where the disk has
	// room for many.
	segmentSize, leastSegment = 16 << 20, 256 << 10
	// maxBatch is how many bytes one write to the journal has, about.
	maxBatch = 4 << 20
	// maxHeld bounds the uploads in the journal, each of which takes some 150
	// bytes of memory. More live in files of their own.
	maxHeld = 1 << 19
	// maxSegments bounds the segments, each of which is an open file, in the same
	// way.
	maxSegments = 1 << 10
)

// errJournalClosed cannot happen to an upload: the store waits for all of them
// before it closes the journal.
var errJournalClosed = errors.New("journal is closed")

// journal keeps the records and the bytes of small uploads, of the whole store
// one behind the other: what waits to be made durable is one write and one
// sync, however many uploads it is of, and no file is created for any of them.
// FORMAT.md has the layout, and says what a crash leaves.
type journal struct {
	fs   vfs.FS
	dir  string
	log  *zap.Logger
	size int64 // of a segment

	queue   sync.Mutex
	waiting []*entry // for the next batch
	running bool     // its goroutine is there
	stopped bool
	idle    sync.Cond // signals that the goroutine has ended

	mu       sync.RWMutex // held for reading while a segment is read
	held     map[resume.ID]kept
	alive    int64 // bytes in the journal that somebody needs
	segments []*segment

	// The goroutine's own.
	last   uint64 // number of the newest segment
	active *segment
	buf    []byte
	moving *carrier // takes what is alive out of the oldest segment; nil: nothing is
	stuck  bool     // and could not read it
	unsure bool     // the kernel's memory may have what the disk has not, and nobody was told of
}

func newJournal(fsys vfs.FS, dir string, log *zap.Logger) *journal {
	j := &journal{fs: fsys, dir: dir, log: log, size: segmentSize, held: make(map[resume.ID]kept)}
	j.idle.L = &j.queue
	if free, known := fsys.Free(dir); known {
		j.size = min(max(free/256, leastSegment), segmentSize)
	}
	return j
}

// append makes an entry durable, together with what others append meanwhile.
// An upload appends one at a time. After an error that is not [unwritten] it
// may be found after a crash, or not.
func (j *journal) append(e *entry) error {
	e.done = make(chan error, 1)
	j.queue.Lock()
	if j.stopped {
		j.queue.Unlock()
		return errJournalClosed
	}
	j.waiting = append(j.waiting, e)
	if !j.running {
		j.running = true
		go j.run()
	}
	j.queue.Unlock()
	return <-e.done
}

// drop has the journal forget an upload, durably.
func (j *journal) drop(id resume.ID) error { return j.append(&entry{kind: entryGone, id: id}) }

// affirm writes what the journal knows of an upload anew, or that it knows
// nothing: after a sync that failed, the disk may have another record of it that
// nobody was told of.
func (j *journal) affirm(id resume.ID) error {
	j.mu.RLock()
	e, err := j.whole(id)
	j.mu.RUnlock()
	if err != nil {
		return err
	}
	if e == nil {
		return j.drop(id)
	}
	return j.append(e)
}

// run takes batch after batch until nobody waits.
func (j *journal) run() {
	for {
		j.queue.Lock()
		n, size := 0, 0
		for n < len(j.waiting) && size < maxBatch {
			size += j.waiting[n].size()
			n++
		}
		batch := j.waiting[:n:n]
		if j.waiting = j.waiting[n:]; n == 0 {
			j.waiting, j.running = nil, false
			j.idle.Broadcast()
			j.queue.Unlock()
			return
		}
		j.queue.Unlock()
		err := j.commit(batch)
		for _, e := range batch {
			e.done <- err
		}
	}
}

// commit writes a batch, and with it some of what has to leave the oldest
// segment, so that nobody ever waits for all of that.
func (j *journal) commit(batch []*entry) error {
	carried := j.carry()
	all := append(carried, batch...)
	seg, err := j.write(all)
	if err != nil {
		j.moving = nil // what it carried did not arrive: from the start, another time
	}
	if len(carried) > 0 && mayPass(err) { // there may be room for what is waited for
		all = batch
		seg, err = j.write(all)
	}
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	j.mu.Lock()
	seg.used += int64(len(j.buf))
	for _, e := range all {
		j.note(seg, e)
	}
	j.mu.Unlock()
	if cap(j.buf) > maxBatch {
		j.buf = nil
	}
	j.retire()
	return nil
}

// write makes entries durable in the segment that it returns.
func (j *journal) write(all []*entry) (*segment, error) {
	size := 0
	for _, e := range all {
		size += e.size()
	}
	seg, err := j.room(int64(size))
	if err != nil {
		return nil, &unwritten{err}
	}
	j.buf = j.buf[:0]
	for _, e := range all {
		e.off = seg.used + int64(len(j.buf))
		j.buf = e.appendTo(j.buf, seg.salt)
	}
	if _, err = seg.file.WriteAt(j.buf, seg.used); err != nil {
		err = &unwritten{err}
	} else {
		err = seg.file.Sync()
	}
	if err != nil { // nobody knows what of it is on the disk: nothing goes behind it
		j.active, j.unsure = nil, true
		if seg.used == segmentHeader {
			err = errors.Join(err, j.discard(seg))
		}
		return nil, err
	}
	return seg, nil
}

// discard removes the newest segment, to which nothing could be written: a full
// disk would leave one with every try. That its name is gone is durable before
// the next one is used, since that is made so when it is created. One that cannot
// be removed stays in its place: what it may have of an upload must go before
// what is written of that from now on.
func (j *journal) discard(seg *segment) error {
	if err := j.fs.Remove(j.path(seg.number)); err != nil {
		return err
	}
	j.mu.Lock()
	j.segments = j.segments[:len(j.segments)-1]
	j.mu.Unlock()
	return seg.file.Close()
}

// room returns the segment that the next size bytes go to.
func (j *journal) room(size int64) (*segment, error) {
	if a := j.active; a != nil && a.used+size <= a.size {
		return a, nil
	}
	seg, err := createSegment(j.fs, j.dir, j.last+1, max(j.size, segmentHeader+size))
	if err != nil && vfs.IsFull(err) { // there may be room for this
		seg, err = createSegment(j.fs, j.dir, j.last+1, segmentHeader+size)
	}
	if err != nil {
		return nil, err
	}
	j.last++
	j.active = seg
	j.mu.Lock()
	j.segments = append(j.segments, seg)
	j.mu.Unlock()
	return seg, nil
}

// full reports whether the journal takes no more uploads.
func (j *journal) full() bool {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return len(j.held) >= maxHeld || len(j.segments) >= maxSegments
}

// close ends the journal, in which nobody waits any more.
func (j *journal) close() error {
	j.queue.Lock()
	j.stopped = true
	for j.running {
		j.idle.Wait()
	}
	j.queue.Unlock()
	var errs []error
	for _, seg := range j.segments {
		errs = append(errs, seg.file.Close())
	}
	return errors.Join(errs...)
}

func (j *journal) path(number uint64) string {
	return filepath.Join(j.dir, segmentName(number))
}
