package main

import (
	_ "embed"
	"fmt"
	"testing"
)

// wireJS counts what goes over the page's WebSockets.
//
//go:embed testdata/wire.js
var wireJS string

// counted is what went over one WebSocket.
type counted struct {
	Cursor   int64 // where it began
	Position int64 // how far it came
	Sent     int64 // bytes of the file
	Beyond   int64 // bytes beyond the furthest edge that was granted; not above 0 if it is right
	Buffered int64 // most that was left in the browser behind a message, less the window
	Codes    []string
	Opens    []struct{ Ticket string }
}

// tap has everything counted that the page sends from now on, until it is reloaded.
func (b *tab) tap() { eval[bool](b, wireJS+"; true") }

// wire returns what was counted, a connection each.
func (b *tab) wire() []counted { return eval[[]counted](b, "wire") }

// expectWithinCredit holds what was counted against what the server had granted.
func (b *tab) expectWithinCredit() {
	b.t.Helper()
	const chunk = 1 << 20 // the largest message
	for i, w := range b.wire() {
		if w.Beyond > 0 {
			b.t.Errorf("connection %d sent %d bytes that were not granted", i, w.Beyond)
		}
		if w.Buffered > chunk {
			b.t.Errorf("on connection %d the browser had %d bytes more than the window to send", i, w.Buffered)
		}
	}
}

// The line takes less than the page could give: what the server has not
// granted is not handed to the browser either.
func TestWindowIsKept(t *testing.T) {
	t.Parallel()
	p, v, b := visitAt(t, slow)
	b.tap()
	want := content(12 << 20)
	b.choose(file(t, "film.bin", want))
	b.arrived(0.3)
	v.cut()
	b.await("done")
	expectFile(t, p.published("film.bin"), want)
	if n := len(b.wire()); n < 2 {
		t.Fatalf("%d connections were counted", n)
	}
	b.expectWithinCredit()
}

// Bytes are damaged between the page and the server, once: they are sent again,
// from where all was well.
func TestDamageOnTheWayIsRepaired(t *testing.T) {
	t.Parallel()
	const size = 12 << 20
	for name, source := range map[string]string{
		"file":   fmt.Sprintf(`new File([bytes(0, %d)], "damaged.bin")`, size),
		"stream": fmt.Sprintf(`new Blob([bytes(0, %d)]).stream()`, size),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t, t.TempDir())
			b := visit(t, p.url)
			b.tap()
			ask[bool](b, fmt.Sprintf(`
				damage = (w) => wire.length === 1 && w.position > %d && !w.damaged && (w.damaged = true);
				globalThis.up = new Upload(%s, {url: "/upload/", name: "damaged.bin"});
				up.start();
				return true`, size/2, source))
			b.until("it is done", func() bool { return eval[string](b, `up.state`) == "done" })
			expectFile(t, p.published("damaged.bin"), arithmetic(size))
			wire := b.wire()
			if len(wire) < 2 || len(wire[0].Codes) == 0 || wire[0].Codes[0] != "digest-mismatch" {
				t.Fatalf("the damage was not noticed: %+v", wire)
			}
			// Where all was well: a stream is compared all the time, a file of this size at its end.
			if again := wire[0].Position - wire[1].Cursor; name == "stream" && again > size/2 {
				t.Errorf("%d bytes were sent again", again)
			}
		})
	}
}

// A line that damages everything gets a failure in the end, and nobody the file.
func TestDamageThatStaysIsAFailure(t *testing.T) {
	t.Parallel()
	p := start(t, t.TempDir())
	b := visit(t, p.url)
	b.tap()
	eval[bool](b, `damage = () => true, true`)
	want := content(1 << 20)
	b.choose(file(t, "film.bin", want))
	b.await("failed")
	if code := eval[string](b, `document.querySelector("ws-upload").uploads[0].error.code`); code != "digest-mismatch" {
		t.Errorf("it failed with %q", code)
	}
	if n := len(p.logs.find(func(e entry) bool { return e.Msg == "upload delivered" })); n != 0 {
		t.Errorf("%d files were delivered", n)
	}
	eval[bool](b, `damage = () => false, true`)
	b.press("Start over film.bin")
	b.await("done")
	expectFile(t, p.published("film.bin"), want)
}
