package client

import (
	"slices"

	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/resume"
)

type fakeUpload struct {
	id       string
	open     *protocol.Open
	content  []byte
	received resume.Extents
	durable  int64 // from 0 on, as told
	told     int64 // the highest offset ever told
	epoch    int   // counts the openings of the whole
	binary   int64 // payload bytes that arrived
	finish   *protocol.Finish
	done     *protocol.Done
}

func (u *fakeUpload) mismatch(d *protocol.Digest, sha []byte) string {
	if d == nil {
		return "finish has no digest"
	}
	if d.SHA256 != nil && !slices.Equal(d.SHA256, sha) {
		return "sha-256 differs"
	}
	if d.CRC32C != nil && uint32(*d.CRC32C) != resume.UpdateCRC32C(0, u.content) {
		return "crc32c differs"
	}
	return ""
}

// take puts p at off; bytes that are there already stay.
func (u *fakeUpload) take(off int64, p []byte) {
	u.binary += int64(len(p))
	end := off + int64(len(p))
	if grow := end - int64(len(u.content)); grow > 0 {
		u.content = append(u.content, make([]byte, grow)...)
	}
	for _, r := range u.received.Missing(resume.Range{Start: off, End: end}) {
		part := p[r.Start-off : r.End-off]
		copy(u.content[r.Start:], part)
		u.received, _ = u.received.Add(resume.Extent{Range: r, CRC32C: resume.UpdateCRC32C(0, part)})
	}
}

// extents is what is durable: with lanes everything that was received.
func (u *fakeUpload) extents() resume.Extents {
	if len(u.received) > 1 || u.open.Range != nil {
		return u.received
	}
	x, _ := resume.Extents{}.Add(resume.Extent{Range: resume.Range{Start: 0, End: u.durable}, CRC32C: resume.UpdateCRC32C(0, u.content[:u.durable])})
	return x
}

func (u *fakeUpload) have() []protocol.Have {
	have := []protocol.Have{}
	for _, e := range u.extents() {
		have = append(have, protocol.Have{Range: protocol.Range{Start: e.Start, End: &e.End}, CRC32C: protocol.CRC32C(e.CRC32C)})
	}
	return have
}

// forget is a crash: only what is durable stays.
func (u *fakeUpload) forget() {
	if u.done == nil && u.open.Range == nil {
		u.received = u.extents()
		u.content = u.content[:u.durable]
	}
}
