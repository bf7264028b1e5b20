package filestore

import (
	"fmt"
	"os"
	"time"

	"github.com/wsingest/wsingest/resume"
	"github.com/wsingest/wsingest/resume/filestore/internal/vfs"
)

// snapshot is what one commit makes durable.
type snapshot struct {
	number uint64
	part   vfs.File // to be synced, or nil
	small  bool     // it goes to the journal
	buffer *buffer  // and its bytes are here, or nil
	out    bool     // or it leaves that
	redo   bool     // what was received and is not durable is to be written anew before
	size   int64    // the part file is cut to this, or -1
	base   resume.Extents
	marks  []claimMark
	voided bool // bytes in it were dropped since
	next   outcome
	record record
	at     time.Time

	received, durable resume.Extents // for redo
}

type claimMark struct {
	claim *claim
	at    mark
}

// snapshot takes what the next commit covers: only bytes whose write has
// returned are in it.
func (u *upload) snapshot() *snapshot {
	k := &u.commit
	k.taken++
	s := &snapshot{number: k.taken, size: -1, base: u.base, next: u.next, at: now(), small: u.small, out: u.leaving}
	if s.small {
		s.buffer, _ = u.part.(*buffer)
	} else if k.data {
		s.part, _ = u.part.(vfs.File)
	}
	if k.full {
		s.redo, s.received, s.durable = true, u.received(), u.durable()
	}
	if u.now.phase == resume.Receiving && u.next.phase != resume.Receiving {
		s.size = u.info.Length
	}
	for _, c := range u.claims {
		s.marks = append(s.marks, claimMark{c, c.here()})
	}
	s.record = u.record(s.at)
	k.dirty, k.urgent, k.data, k.bytes = false, false, false, 0
	k.under = s
	return s
}

func (u *upload) record(at time.Time) record {
	r := record{
		ID: u.id, Owner: text(u.info.Owner), Name: text(u.info.Name), Type: text(u.info.Type),
		Length: u.info.Length, Metadata: u.info.Metadata, WantSHA256: u.info.WantSHA256,
		Phase: u.next.phase, Epoch: u.epoch, Created: seconds(u.created), Updated: seconds(at),
		SHA256: u.next.sha256, Origin: u.next.origin, Result: u.next.result, Publish: u.next.publish, Moved: text(u.next.moved),
	}
	for _, e := range u.received() {
		r.Extents = append(r.Extents, extent{e.Start, e.End, int64(e.CRC32C)})
	}
	if u.next.phase == resume.Receiving {
		r.Hash = u.hash.mark()
	}
	return r
}

// persist makes the snapshot durable: bytes first, then the record that says
// so. The names of an upload's files come before its first record, so that
// where there is a record, there are files.
func (u *upload) persist(s *snapshot) error {
	payload, err := s.record.encode()
	switch {
	case err != nil:
		return err
	case s.out:
		return u.moveOut(s, payload)
	case s.small:
		return u.keep(s, payload)
	}
	if u.slots == nil {
		if err := u.openOwnState(); err != nil {
			return err
		}
	}
	if err := s.persistData(); err != nil {
		return fmt.Errorf("data: %w", &unsynced{err})
	}
	if err := u.slots.append(payload); err != nil {
		return fmt.Errorf("record: %w", err)
	}
	return nil
}

// persistData syncs the part file. Bytes that were dropped may lie behind the
// end of a complete one: they go.
func (s *snapshot) persistData() error {
	if s.part == nil {
		return nil
	}
	if s.redo {
		if err := rewrite(s.part, s.received, s.durable); err != nil {
			return err
		}
	}
	if s.size >= 0 || s.redo {
		info, err := s.part.Stat()
		if err != nil {
			return err
		}
		size := s.size
		if size < 0 {
			size = info.Size()
		}
		if s.redo || info.Size() != size { // the failed sync was to make the size durable too
			if err := s.part.Truncate(size); err != nil {
				return err
			}
		}
	}
	return s.part.Sync()
}

// openOwnState is called by the committer alone, which alone uses it.
func (u *upload) openOwnState() (err error) {
	path := u.store.statePath(u.id)
	if u.stored {
		u.slots, _, err = openState(u.store.fs, path, os.O_RDWR)
		return err
	}
	if u.slots, err = createState(u.store.fs, path); err != nil {
		return err
	}
	if err := u.store.names.do(); err != nil {
		return fmt.Errorf("directory: %w", err)
	}
	u.stored = true
	return nil
}
