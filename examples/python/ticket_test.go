package python

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/wsingest/wsingest/middleware"
	"github.com/wsingest/wsingest/middleware/ticket"
)

const uploadKey = "a key that only app and server know"

func ticketServer(t *testing.T) *server {
	t.Helper()
	v, err := ticket.NewVerifier([]byte(uploadKey))
	if err != nil {
		t.Fatal(err)
	}
	return newServerWith(t, middleware.Options{Tickets: v})
}

// TestATicketIsFetchedForEachOpening by a function, which is told the id.
func TestATicketIsFetchedForEachOpening(t *testing.T) {
	t.Parallel()
	for lanes, least := range map[string]int{"1": 1, "2": 3} {
		s := ticketServer(t)
		path, data := makeFile(t, 17<<20)
		r := library{}.start(t, nil, "testdata/grants.py", path, s.url(), uploadKey, lanes)
		r.exits(t, exitOK)
		s.mustHave(t, "file.bin", data)
		if n, _ := strconv.Atoi(strings.TrimSpace(r.stdout.String())); n < least {
			t.Errorf("%s lanes: it asked %d times", lanes, n)
		}
	}
}

// TestTheTicketOfTheEnvironment goes into open, and a refusal is final.
func TestTheTicketOfTheEnvironment(t *testing.T) {
	s := ticketServer(t)
	path, data := makeFile(t, 100)
	for size, code := range map[int64]int{100: exitOK, 99: exitRejected} {
		grant, err := ticket.Mint([]byte(uploadKey), ticket.Claims{Expires: time.Now().Add(time.Hour), Length: &size})
		if err != nil {
			t.Fatal(err)
		}
		t.Setenv("WSINGEST_TICKET", grant)
		r := library{}.start(t, nil, put(t, s, path)...)
		r.exits(t, code)
		if code == exitOK {
			s.mustHave(t, "file.bin", data)
		} else if !strings.Contains(r.stderr.String(), "99 bytes") {
			t.Errorf("it does not say why: %s", &r.stderr)
		}
	}
}
