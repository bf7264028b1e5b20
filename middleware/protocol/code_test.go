package protocol

import "testing"

// TestEndsConnection: only what concerns an upload that finish let go of
// leaves the connection to the next one.
func TestEndsConnection(t *testing.T) {
	for _, c := range []struct {
		err  Error
		ends bool
	}{
		{Error{Code: Rejected}, false},
		{Error{Code: DigestMismatch}, false},
		{Error{Code: DigestMismatch, Offset: new(int64(0))}, true}, // a check
		{Error{Code: MismatchingOffset}, true},
		{Error{Code: BadMessage}, true},
		{Error{Code: Internal}, true},
		{Error{Code: "from-the-future"}, true},
	} {
		if got := c.err.EndsConnection(); got != c.ends {
			t.Errorf("%+v: EndsConnection is %v", c.err, got)
		}
	}
}

func TestErrorIsAnError(t *testing.T) {
	var err error = &Error{Code: NotFound, Detail: "There is no such upload."}
	if want := "not-found: There is no such upload."; err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
}
