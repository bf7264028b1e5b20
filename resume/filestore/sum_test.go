package filestore_test

import (
	"errors"
	"testing"

	"github.com/wsingest/wsingest/resume"
)

// The sum that came with the bytes is the one that is kept and that a digest is
// compared with: it is not computed again from what was written.
func TestWriteSumKeepsTheSumItIsTold(t *testing.T) {
	s := newStore(t, t.TempDir())
	sent, came := []byte("as it was sent"), []byte("as it was sEnt")
	told, ofCame := resume.UpdateCRC32C(0, sent), resume.UpdateCRC32C(0, came)
	c, err := s.Open(t.Context(), resume.OpenOptions{Info: resume.Info{ID: resume.NewID(), Length: int64(len(sent))}})
	if err == nil {
		_, err = resume.WriteSum(c, came, told)
	}
	if err != nil {
		t.Fatal(err)
	}
	if got := c.State().Received[0].CRC32C; got != told {
		t.Errorf("the sum of what is received is %08x, but %08x was told", got, told)
	}
	_, err = c.Finish(t.Context(), resume.FinishOptions{Length: resume.UnknownLength, CRC32C: &ofCame})
	if !errors.Is(err, resume.ErrDigestMismatch) {
		t.Errorf("Finish with another sum: %v, expected %v", err, resume.ErrDigestMismatch)
	}
}
