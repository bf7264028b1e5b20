package main

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/wsingest/wsingest/middleware"
	"github.com/wsingest/wsingest/middleware/protocol"
)

// A function is asked for a ticket before every opening, so that a ticket need
// not live longer than it takes to connect.
func TestTicketIsFreshForEveryOpening(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var shown []string
	addr, files := serveWith(t, middleware.Options{OnOpen: func(_ context.Context, o *middleware.Opening) error {
		mu.Lock()
		defer mu.Unlock()
		if !strings.HasPrefix(o.Ticket, "grant ") || slices.Contains(shown, o.Ticket) {
			return &middleware.Refusal{Code: protocol.Forbidden, Detail: "This ticket is not valid."}
		}
		shown = append(shown, o.Ticket)
		return nil
	}})
	v := newValve(t, addr)
	v.rate.Store(slow)
	b := visit(t, v.url())
	// The second time the app is not to be reached.
	eval[bool](b, `globalThis.asked = 0, document.querySelector("ws-upload").options = {ticket: async (id) => {
		if (!/^[\w-]{22}$/.test(id)) return "for no upload";
		if (++asked === 2) throw new Error("the app does not answer");
		return "grant " + asked;
	}}, true`)
	want := content(8 << 20)
	b.choose(file(t, "film.bin", want))
	b.arrived(0.3)
	v.cut()
	b.until("the page says what it waits for", func() bool { return strings.Contains(b.text(".row .status"), "the app does not answer") })
	v.rate.Store(0)
	b.await("done")
	expectFile(t, filepath.Join(files, "film.bin"), want)
	mu.Lock()
	if want := []string{"grant 1", "grant 3"}; !slices.Equal(shown, want) {
		t.Errorf("the server was shown %q, expected %q", shown, want)
	}
	mu.Unlock()

	eval[bool](b, `document.querySelector("ws-upload").options = {ticket: "stolen"}, true`)
	b.choose(file(t, "other.bin", content(1000)))
	b.until("the page says why it is refused", func() bool {
		return strings.Contains(b.text(".row[data-state=failed] .status"), "This ticket is not valid.")
	})
}
