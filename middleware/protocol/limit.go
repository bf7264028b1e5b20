package protocol

import (
	"errors"
	"fmt"
	"strings"
)

// MaxPosition is the largest position, length or count of bytes in a message:
// the largest whole number that every JSON parser keeps exact (RFC 8259,
// section 6).
const MaxPosition = 1<<53 - 1

// Bounds of what an open carries beside the bytes.
const (
	MaxNameLength   = 1 << 10 // bytes of name and of media-type, each
	MaxMetadataSize = 8 << 10 // bytes of all keys and values of metadata
)

// MaxPingTimeoutMS bounds ping-timeout-ms. A client that waits longer never
// gives up in practice, and says so with a negative number.
const MaxPingTimeoutMS = 3_600_000

func position(name string, n int64) error {
	if n < 0 || n > MaxPosition {
		return fmt.Errorf("%s %d, expected 0 to %d bytes", name, n, int64(MaxPosition))
	}
	return nil
}

// known is position for a number that may be absent.
func known(name string, n *int64) error {
	if n == nil {
		return nil
	}
	return position(name, *n)
}

func (o *Open) validate() error {
	if err := known("length", o.Length); err != nil {
		return fmt.Errorf("%w, or no length when it is unknown", err)
	}
	for _, f := range []struct{ name, value string }{{"name", o.Name}, {"media-type", o.Type}} {
		if len(f.value) > MaxNameLength {
			return fmt.Errorf("%s of %d bytes, expected at most %d", f.name, len(f.value), MaxNameLength)
		}
	}
	if strings.ContainsFunc(o.Type, func(c rune) bool { return c < ' ' || c > '~' }) {
		return fmt.Errorf("media-type %q, expected printable ASCII such as text/plain: it becomes a header", o.Type)
	}
	size := 0
	for key, value := range o.Metadata {
		size += len(key) + len(value)
	}
	if size > MaxMetadataSize {
		return fmt.Errorf("metadata of %d bytes, keys and values together, expected at most %d", size, MaxMetadataSize)
	}
	if o.WantDigest != "" && o.WantDigest != SHA256 {
		return fmt.Errorf("want-digest %q, expected %q", o.WantDigest, SHA256)
	}
	if o.PingTimeoutMS > MaxPingTimeoutMS {
		return fmt.Errorf("ping-timeout-ms %d, expected at most %d, or a negative number for a client that never pings", o.PingTimeoutMS, MaxPingTimeoutMS)
	}
	if r := o.Range; r != nil && r.End != nil && o.Length != nil && *r.End > *o.Length {
		return fmt.Errorf("range ends at %d, beyond the length %d", *r.End, *o.Length)
	}
	return nil
}

func (c *Check) validate() error { return position("offset", c.Offset) }

func (f *Finish) validate() error { return known("length", f.Length) }

func (r *Ready) validate() error {
	return errors.Join(
		position("offset", r.Offset), position("received", r.Received), position("cursor", r.Cursor),
		known("length", r.Length), position("window", r.Window), position("chunk", r.Chunk),
	)
}

func (a *Ack) validate() error {
	return errors.Join(
		position("offset", a.Offset), position("received", a.Received),
		position("window", a.Window), position("chunk", a.Chunk),
	)
}

func (d *Done) validate() error { return position("length", d.Length) }

func (e *Error) validate() error { return known("offset", e.Offset) }

func (g *Goaway) validate() error { return position("offset", g.Offset) }
