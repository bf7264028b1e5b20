package middleware

import (
	"errors"
	"net"
	"testing"
)

// counted is a connection that keeps what each Write was given.
type counted struct {
	net.Conn
	writes []string
	err    error
}

func (c *counted) Write(p []byte) (int, error) {
	c.writes = append(c.writes, string(p))
	return len(p), c.err
}

// What is held goes out in one write with what comes behind it, in order, and
// before it is more than a little.
func TestWhatIsHeldIsOneWriteWithWhatComesBehindIt(t *testing.T) {
	conn := &counted{}
	w := &wire{Conn: conn}
	put := func(hold bool, s string) error {
		t.Helper()
		w.hold.Store(hold)
		n, err := w.Write([]byte(s))
		if err == nil && n != len(s) {
			t.Fatalf("%d of %d bytes were taken", n, len(s))
		}
		return err
	}
	expect := func(want ...string) {
		t.Helper()
		if len(conn.writes) != len(want) {
			t.Fatalf("%d writes, expected %d", len(conn.writes), len(want))
		}
		for i, s := range want {
			if conn.writes[i] != s {
				t.Fatalf("write %d has %d bytes, expected %d", i, len(conn.writes[i]), len(s))
			}
		}
		conn.writes = nil
	}
	put(false, "alone")
	expect("alone")
	put(true, "one ")
	put(true, "two ")
	expect()
	put(false, "three")
	expect("one two three")
	large := string(make([]byte, mostHeld))
	put(true, "small")
	put(true, large) // more than may be held: nothing waits
	expect("small" + large)
	put(true, "nothing comes behind this")
	w.letGo()
	w.letGo()
	expect("nothing comes behind this")
	conn.err = errors.New("broken")
	put(true, "held")
	if err := put(false, "last"); !errors.Is(err, conn.err) {
		t.Fatalf("the last of what was held: %v", err)
	}
}
