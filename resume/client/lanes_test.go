package client

import (
	"bytes"
	"errors"
	"testing"

	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/resume"
)

// lanesTo uploads content to f over three lanes.
func lanesTo(t *testing.T, f *fake, content []byte) error {
	o := quick()
	o.Lanes, o.WantDigest = 3, true
	_, err := Upload(testContext(t), f.url, FromReaderAt(bytes.NewReader(content), int64(len(content))), o)
	return err
}

// TestTheLastLaneFinishes: the upload is not opened once more for that.
func TestTheLastLaneFinishes(t *testing.T) {
	content := randomBytes(24 << 20)
	f := newFake(t, nil)
	if err := lanesTo(t, f, content); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(f.upload().content, content) {
		t.Error("content differs")
	}
	for _, open := range f.opens {
		if open.Range == nil {
			t.Errorf("it was opened as a whole, over %d connections in all", f.conns)
		}
	}
}

// TestAFinishOnALaneThatComesToNothing: the upload is opened once more as a
// whole, and what was lost is sent again.
func TestAFinishOnALaneThatComesToNothing(t *testing.T) {
	content := randomBytes(24 << 20)
	for name, fails := range map[string]func(f *fake, u *fakeUpload) error{
		"cut": func(*fake, *fakeUpload) error { return errCut },
		"bytes lost": func(f *fake, u *fakeUpload) error {
			f.mu.Lock()
			defer f.mu.Unlock()
			left := int64(len(content)) - 1<<20
			u.content = u.content[:left]
			u.received, _ = resume.Extents{}.Add(resume.Extent{Range: resume.Range{End: left}, CRC32C: resume.UpdateCRC32C(0, u.content)})
			return &protocol.Error{ID: u.id, Code: protocol.MismatchingOffset, Resumable: true}
		},
	} {
		t.Run(name, func(t *testing.T) {
			finishes := 0
			f := newFake(t, nil)
			f.onFinish = func(c *fakeConn, u *fakeUpload) (bool, error) {
				if finishes++; finishes > 1 {
					return false, nil
				}
				return true, fails(f, u)
			}
			if err := lanesTo(t, f, content); err != nil {
				t.Fatal(err)
			}
			if finishes < 2 || !bytes.Equal(f.upload().content, content) {
				t.Errorf("finished %d times; the content is right: %t", finishes, bytes.Equal(f.upload().content, content))
			}
		})
	}
}

// TestWhatALaneHearsAsItFinishesStands: nobody asks a second time.
func TestWhatALaneHearsAsItFinishesStands(t *testing.T) {
	for code, want := range map[protocol.Code]error{protocol.Rejected: ErrRejected, protocol.DigestMismatch: ErrDigestMismatch} {
		f := newFake(t, nil)
		f.onFinish = func(c *fakeConn, u *fakeUpload) (bool, error) {
			c.say(&protocol.Error{ID: u.id, Code: code})
			return true, nil
		}
		if err := lanesTo(t, f, randomBytes(leastForLanes)); !errors.Is(err, want) {
			t.Errorf("%s: %v", code, err)
		}
		if f.conns > 3 {
			t.Errorf("%s: %d connections", code, f.conns)
		}
	}
}

// TestTheLastPiecesAreSmall: no lane has more than a small part of what it sends
// in a second when nothing is left for the others.
func TestTheLastPiecesAreSmall(t *testing.T) {
	const lanes, want = 4, 32 << 20
	p := newPlan([]resume.Range{{Start: 0, End: 1 << 30}}, lanes, true)
	last := make([]int64, lanes)
	for lane := 0; ; lane = (lane + 1) % lanes {
		piece := p.take(lane, want)
		if piece == nil {
			break
		}
		last[lane] = piece.End - piece.Start
	}
	for lane, n := range last {
		if n > want/lastPieces {
			t.Errorf("lane %d ends with a piece of %d bytes", lane, n)
		}
	}
}
