package middleware

import (
	"fmt"
	"testing"

	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/resume"
)

// TestALostUploadIsNotTriedForEver: the client is told to begin anew.
func TestALostUploadIsNotTriedForEver(t *testing.T) {
	e := refusal("W3kFy7Bd2uN5aR9gV0mSiQ", fmt.Errorf("upload: %w", resume.ErrLost))
	if e.Code != protocol.NotFound || e.Resumable {
		t.Errorf("it is told %v, resumable: %v", e.Code, e.Resumable)
	}
}
