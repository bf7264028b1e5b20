package client_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wsingest/wsingest/middleware"
	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/middleware/ticket"
	"github.com/wsingest/wsingest/resume"
	"github.com/wsingest/wsingest/resume/client"
)

var uploadKey = []byte("a key that only app and server know")

func grant(id string, size int64) (string, error) {
	return ticket.Mint(uploadKey, ticket.Claims{Expires: time.Now().Add(time.Hour), ID: id, Owner: "ada", Length: &size})
}

func ticketServer(t *testing.T, o middleware.Options) *server {
	t.Helper()
	v, err := ticket.NewVerifier(uploadKey)
	if err != nil {
		t.Fatal(err)
	}
	o.Tickets = v
	return startServer(t, o)
}

// TestATicketIsFetchedForEachOpening: of the whole, or of each lane.
func TestATicketIsFetchedForEachOpening(t *testing.T) {
	const size = 20 << 20
	for lanes, least := range map[int]int64{1: 1, 3: 3} {
		s := ticketServer(t, middleware.Options{})
		var asked atomic.Int64
		src := client.FromReaderAt(strings.NewReader(strings.Repeat("x", size)), size)
		src.TicketFor = func(_ context.Context, id string) (string, error) {
			asked.Add(1)
			return grant(id, size)
		}
		r, err := client.Upload(bound(t), s.url(), src, client.Options{Lanes: lanes})
		if err != nil || r.Length != size || asked.Load() < least {
			t.Errorf("%d lanes: %+v, %v; asked %d times", lanes, r, err, asked.Load())
		}
	}
}

// TestATicketThatIsRefusedIsTheEnd: it is not tried again, and told.
func TestATicketThatIsRefusedIsTheEnd(t *testing.T) {
	s := ticketServer(t, middleware.Options{})
	for name, lanes := range map[string]int{"one connection": 1, "lanes": 3} {
		src := client.FromReaderAt(strings.NewReader(strings.Repeat("x", 20<<20)), 20<<20)
		src.ID = string(resume.NewID())
		src.Ticket, _ = grant(src.ID, 7)
		o := client.Options{Lanes: lanes}
		o.Retry.OnRetry = func(err error, _ time.Duration) { t.Errorf("%s: it tries again after %v", name, err) }
		_, err := client.Upload(bound(t), s.url(), src, o)
		var server *protocol.Error
		if !errors.As(err, &server) || server.Code != protocol.Forbidden || !strings.Contains(err.Error(), "7 bytes") || client.Resumable(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestWithoutATicketTheUploadCanBeGoneOnWith.
func TestWithoutATicketTheUploadCanBeGoneOnWith(t *testing.T) {
	s := ticketServer(t, middleware.Options{})
	for _, lanes := range []int{1, 3} {
		src := client.FromReaderAt(strings.NewReader(strings.Repeat("x", 20<<20)), 20<<20)
		gone := fmt.Errorf("the session has ended")
		src.TicketFor = func(context.Context, string) (string, error) { return "", gone }
		if _, err := client.Upload(bound(t), s.url(), src, client.Options{Lanes: lanes}); !errors.Is(err, gone) || !client.Resumable(err) {
			t.Errorf("%d lanes: %v, resumable %v", lanes, err, client.Resumable(err))
		}
	}
}

// TestAFileThatIsRefusedByItsHeadEndsTheUpload, and others on the connection go
// on.
func TestAFileThatIsRefusedByItsHeadEndsTheUpload(t *testing.T) {
	s := startServer(t, middleware.Options{AcceptTypes: []string{"text/plain"}})
	c, err := client.New(s.url(), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	results := make(chan error, 4)
	for i := range cap(results) {
		text := "\x00\x01\x02"
		if i%2 == 0 {
			text = "Hello, world! "
		}
		text = strings.Repeat(text, 1<<20)
		go func() {
			_, err := c.Upload(bound(t), client.FromReaderAt(strings.NewReader(text), int64(len(text))))
			if refused := text[0] == 0; refused != errors.Is(err, client.ErrRejected) || !refused && err != nil {
				results <- fmt.Errorf("%q...: %w", text[:3], err)
				return
			}
			results <- nil
		}()
	}
	for range cap(results) {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
}
