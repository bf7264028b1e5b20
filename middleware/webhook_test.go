package middleware_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	"github.com/wsingest/wsingest/middleware"
	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/resume"
)

// hook is a server that takes webhooks, and answers as it is told to.
type hook struct {
	mu      sync.Mutex
	answers []int // statuses, in order; 200 afterwards
	bodies  []middleware.WebhookBody
	keys    []string
}

func (h *hook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var b middleware.WebhookBody
	json.NewDecoder(r.Body).Decode(&b)
	h.bodies, h.keys = append(h.bodies, b), append(h.keys, r.Header.Get("Idempotency-Key"))
	if len(h.answers) > 0 {
		w.WriteHeader(h.answers[0])
		h.answers = h.answers[1:]
	}
}

func TestWebhookHearsOfEveryUpload(t *testing.T) {
	for _, c := range []struct {
		name    string
		answers []int
		calls   int
	}{
		{"taken at once", nil, 1},
		{"down twice", []int{503, 500}, 3},
		{"refused for good", []int{404}, 1},
		{"moved", []int{302}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := &hook{answers: c.answers}
			server := httptest.NewServer(h)
			defer server.Close()
			var outcomes []middleware.Outcome
			r := newRig(t, rigOptions{Options: middleware.Options{
				Observer: func(e middleware.Event) {
					if e.Kind == middleware.Attempted {
						outcomes = append(outcomes, e.Outcome)
					}
				},
				Owner:   func(*http.Request) string { return "alice" },
				Confirm: (&middleware.Webhook{URL: server.URL}).Confirm,
			}})
			id := resume.NewID()
			p := r.full()
			o := open(id, 4)
			o.WantDigest, o.Metadata = protocol.SHA256, map[string]string{"album": "7"}
			p.Send(o)
			next[*protocol.Ready](p)
			p.Data([]byte("data"))
			p.Send(&protocol.Finish{})
			next[*protocol.Done](p)

			if len(h.bodies) != c.calls {
				t.Fatalf("the webhook was called %d times, expected %d", len(h.bodies), c.calls)
			}
			want := append(slices.Repeat([]middleware.Outcome{middleware.OutcomeUnconfirmed}, c.calls-1), middleware.OutcomeTaken)
			if !slices.Equal(outcomes, want) {
				t.Errorf("the tries were %v, expected %v", outcomes, want)
			}
			for i, b := range h.bodies {
				if b.ID != string(id) || b.Owner != "alice" || b.Length != 4 || b.Status != http.StatusCreated ||
					b.SHA256 != hexOf(sum([]byte("data"))) || b.Metadata["album"] != "7" || b.Event != "completed" {
					t.Errorf("call %d told %+v", i, b)
				}
				if h.keys[i] != `"`+string(id)+`"` {
					t.Errorf("call %d has the Idempotency-Key %s", i, h.keys[i])
				}
			}
			if n := len(r.app.seen()); n != 1 {
				t.Errorf("the app was asked %d times for the sake of the webhook, expected once", n)
			}
		})
	}
}
