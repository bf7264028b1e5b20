package client

import (
	"bytes"
	"errors"
	"testing"

	"github.com/wsingest/wsingest/middleware/protocol"
)

// TestAConnectionOfOnesOwnIsHeardLate: the server takes an open on it for a newer
// one. The upload is opened once more for each that broke, and then not again.
func TestAConnectionOfOnesOwnIsHeardLate(t *testing.T) {
	content := randomBytes(1 << 20)
	for _, supersedes := range []int{1, 2, 3} {
		f := newFake(t, func(f *fake) {
			f.cutAfter = func(n int) int64 {
				if n <= 2 {
					return 100_000
				}
				return 0
			}
			f.onOpen = func(c *fakeConn, m *protocol.Open) error {
				if c.n > 2 && c.n <= 2+supersedes {
					return &protocol.Error{ID: m.ID, Code: protocol.Superseded, Resumable: true}
				}
				return nil
			}
		})
		_, err := Upload(testContext(t), f.url, FromReaderAt(bytes.NewReader(content), int64(len(content))), quick())
		if supersedes <= 2 && (err != nil || !bytes.Equal(f.upload().content, content)) {
			t.Errorf("superseded %d times behind two connections that broke: %v", supersedes, err)
		}
		if supersedes > 2 && (!errors.Is(err, ErrSuperseded) || f.conns != 5) {
			t.Errorf("superseded %d times: %v after %d connections", supersedes, err, f.conns)
		}
	}
}
