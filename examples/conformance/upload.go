package main

import (
	"crypto/sha256"

	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/resume"
)

// upload is what the server of a case holds under one id.
type upload struct {
	id     string
	open   *protocol.Open // the first
	file   []byte         // what is expected
	got    []bool         // which bytes of it came in
	told   int64          // the highest offset that was told
	finish *protocol.Finish
	done   protocol.Message // the answer that is stored, once there is one

	claims func(*protocol.Ready) // changes what ready says, for cases that lie
}

// received returns how far everything from position from on was taken in.
func (u *upload) received(from int64) int64 {
	for from < int64(len(u.got)) && u.got[from] {
		from++
	}
	return from
}

// delivered reports whether done was said, or is to be.
func (u *upload) delivered() bool {
	_, ok := u.done.(*protocol.Done)
	return ok
}

func (u *upload) complete() bool { return u.received(0) == int64(len(u.file)) }

// lose forgets what was taken in from position at on, as a server that crashes
// before it was durable.
func (u *upload) lose(at int64) { clear(u.got[min(at, int64(len(u.got))):]) }

// runs returns the ranges that came in, or those that did not.
func (u *upload) runs(got bool) (runs []protocol.Range) {
	for at := 0; at < len(u.got); {
		if u.got[at] != got {
			at++
			continue
		}
		start := at
		for at < len(u.got) && u.got[at] == got {
			at++
		}
		end := int64(at)
		runs = append(runs, protocol.Range{Start: int64(start), End: &end})
	}
	return runs
}

func (u *upload) missing() []protocol.Range {
	runs := u.runs(false)
	if u.open.Length == nil {
		if n := len(runs); n > 0 && *runs[n-1].End == int64(len(u.file)) {
			runs[n-1].End = nil
		} else {
			runs = append(runs, protocol.Range{Start: int64(len(u.file))})
		}
	}
	return runs
}

func (u *upload) have() (have []protocol.Have) {
	for _, r := range u.runs(true) {
		have = append(have, protocol.Have{Range: r, CRC32C: crc(u.file[r.Start:*r.End])})
	}
	return have
}

// answer makes the done of the upload.
func (u *upload) answer() *protocol.Done {
	sum := crc(u.file)
	d := &protocol.Done{ID: u.id, Length: int64(len(u.file)), Digest: &protocol.Digest{CRC32C: &sum},
		Response: &protocol.Response{Status: 201, Body: "taken"}}
	if u.open.WantDigest != "" || u.finish != nil && u.finish.Digest != nil && u.finish.Digest.SHA256 != nil {
		sha := sha256.Sum256(u.file)
		d.Digest.SHA256 = sha[:]
	}
	return d
}

func crc(p []byte) protocol.CRC32C { return protocol.CRC32C(resume.UpdateCRC32C(0, p)) }
