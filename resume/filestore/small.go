package filestore

import (
	"bytes"
	"context"
	"fmt"
	"os"

	"github.com/wsingest/wsingest/resume"
)

// A small upload has no files: its bytes are in memory while somebody has it
// open, and go to the journal with its records. It gets the files of any other
// upload when somebody needs one.

// isSmall reports whether the bytes of a new upload go to the journal.
func (s *Store) isSmall(length int64) bool {
	if length < 0 || length > s.small || s.crowded(length) {
		return false
	}
	j := s.useJournal()
	return j != nil && !j.full()
}

// keep writes the snapshot to the journal: the bytes that came, and the record
// that says so, as one.
func (u *upload) keep(s *snapshot, record []byte) error {
	j := u.store.journal.Load()
	e := &entry{kind: entryMore, phase: s.record.Phase[0], id: u.id, updated: s.record.Updated, record: record}
	switch {
	case s.next.phase == resume.Delivered:
		e.kind = entryWhole // without bytes: nobody needs them
	case s.buffer != nil:
		if j.pieces(u.id) >= maxPieces {
			e.kind = entryWhole
		}
		e.data, e.at = s.buffer.take(e.kind == entryWhole)
	}
	err := j.append(e)
	if err != nil && len(e.data) > 0 {
		s.buffer.giveBack(e.data, e.at)
	}
	return err
}

// moveOut makes the snapshot durable in files, as of any other upload, and then
// has the journal forget it. A record in a state file counts, whatever the
// journal says: load.
func (u *upload) moveOut(s *snapshot, record []byte) error {
	if u.slots == nil || u.slots.seq == 0 {
		if err := u.fillPart(s); err != nil {
			return fmt.Errorf("data: %w", err)
		}
	}
	if err := u.slots.append(record); err != nil {
		return fmt.Errorf("record: %w", err)
	}
	return u.store.journal.Load().drop(u.id)
}

// fillPart makes the part file and the state file, which has no record yet.
func (u *upload) fillPart(s *snapshot) error {
	p, err := u.inMemory(s)
	if err != nil {
		return err
	}
	f := u.movedTo
	if f == nil {
		if f, err = u.store.fs.Open(u.store.partPath(u.id), os.O_RDWR|os.O_CREATE|os.O_TRUNC); err != nil {
			return &unwritten{err}
		}
		u.movedTo = f
	}
	if _, err := f.Reserve(s.record.Length); err != nil {
		return &unwritten{err}
	}
	if _, err := f.WriteAt(p, 0); err != nil {
		return &unwritten{err}
	}
	if u.slots == nil {
		if err := u.openOwnState(); err != nil {
			return err
		}
	}
	if err := f.Sync(); err != nil { // the journal has all of it still
		return &unwritten{err}
	}
	return nil
}

// inMemory returns what the upload has of bytes.
func (u *upload) inMemory(s *snapshot) ([]byte, error) {
	if b := s.buffer; b != nil {
		p := make([]byte, b.size)
		n, err := b.ReadAt(p, 0)
		if n < len(p) {
			err = nil // not all of it is there yet
		}
		return p[:n], err
	}
	return u.store.journaled(u.id, s.base) // nobody has it open
}

// journaled returns the bytes of an upload that is in the journal. Where an entry
// is damaged, others of the upload are there: so its checksums say whether it has
// all that it should.
func (s *Store) journaled(id resume.ID, has resume.Extents) ([]byte, error) {
	p, err := s.journal.Load().content(id)
	if err != nil {
		return nil, err
	}
	for _, e := range has {
		if e.End > int64(len(p)) || resume.UpdateCRC32C(0, p[e.Start:e.End]) != e.CRC32C {
			return nil, fmt.Errorf("%w: of the bytes %v, which were durable, the journal has lost some", ErrDamaged, e.Range)
		}
	}
	return p, nil
}

// toFiles gives an upload files if it has none.
func (s *Store) toFiles(ctx context.Context, id resume.ID) error {
	u, err := s.acquire(ctx, id)
	if err != nil {
		return err
	}
	defer u.release()
	if err := u.takeTurn(ctx); err != nil {
		return u.wrap(err)
	}
	defer u.endTurn()
	u.mu.Lock()
	defer u.unlock()
	if err := u.needComplete(); err != nil {
		return u.wrap(err)
	}
	return u.wrapNil(u.toFiles(ctx))
}

// toFiles gives a small upload files; who calls has the turn.
func (u *upload) toFiles(ctx context.Context) error {
	if !u.small {
		return nil
	}
	u.leaving = true
	return u.recordNow(ctx)
}

// out notes that the upload has files now.
func (u *upload) out() {
	u.small, u.leaving = false, false
	if u.part != nil {
		u.part.Close()
	}
	u.part, u.movedTo = u.movedTo, nil
}

// openBuffer reads the bytes of an upload that is in the journal, of which has
// must be there.
func (s *Store) openBuffer(id resume.ID, length int64, has resume.Extents) (*buffer, error) {
	p, err := s.journaled(id, has)
	if err != nil {
		return nil, err
	}
	b := s.newBuffer(length)
	b.b = p
	return b, nil
}

// openSmall returns the bytes of a complete upload, which are in b or, with
// nobody who has it open, in the journal only.
func (s *Store) openSmall(id resume.ID, b *buffer, has resume.Extents) (readCloser, error) {
	if b != nil {
		return memory{bytes.NewReader(b.bytes())}, nil
	}
	p, err := s.journaled(id, has)
	return memory{bytes.NewReader(p)}, err
}

// memory is bytes to be read.
type memory struct{ *bytes.Reader }

func (memory) Close() error { return nil }

// crowded reports whether the buffers of small uploads take as much memory as
// they may.
func (s *Store) crowded(length int64) bool { return s.buffered.Load()+length > maxBuffered }

// loadSmall takes up what the journal has of the upload, if anything.
func (u *upload) loadSmall(failed bool) error {
	j := u.store.journal.Load()
	if failed {
		err := u.store.names.do() // that it has no files may not be durable
		if err == nil && j != nil {
			err = j.affirm(u.id)
		}
		if err != nil {
			return storageError(err)
		}
		u.trusted()
	}
	if j == nil {
		return nil
	}
	b, err := j.record(u.id)
	if err != nil || b == nil {
		return err
	}
	r, extents, err := decodeRecord(b)
	if err != nil {
		return err
	}
	if r.ID != u.id {
		return fmt.Errorf("%w: its place in the journal has upload %s", ErrDamaged, r.ID)
	}
	u.took(r, extents)
	u.small = true
	return nil
}

// finishMove has the journal forget an upload that has a record of its own: a
// crash came between the two.
func (u *upload) finishMove() error {
	if j := u.store.journal.Load(); j != nil && j.has(u.id) {
		return storageError(j.drop(u.id))
	}
	return nil
}
