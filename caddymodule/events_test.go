package caddymodule_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"

	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/resume"
)

func init() { caddy.RegisterModule(eventLog{}) }

// eventLog is a handler of events that remembers them.
type eventLog struct{}

var remembered struct {
	sync.Mutex
	events []caddy.Event
}

func (eventLog) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "events.handlers.test_log", New: func() caddy.Module { return new(eventLog) }}
}

func (eventLog) UnmarshalCaddyfile(d *caddyfile.Dispenser) error { d.Next(); return nil }

func (eventLog) Handle(_ context.Context, e caddy.Event) error {
	remembered.Lock()
	defer remembered.Unlock()
	remembered.events = append(remembered.events, e)
	return nil
}

var _ caddyevents.Handler = eventLog{}

// TestEventsAreEmitted, before a reload and after it, with the placeholders as
// their data.
func TestEventsAreEmitted(t *testing.T) {
	b := newBackend(t)
	ports := freePorts(t, 1)
	dir := t.TempDir()
	load := func(more string) {
		t.Helper()
		config := fmt.Sprintf(`{
	admin off
	persist_config off
	events {
		on ws_ingest.opened test_log
		on ws_ingest.resumed test_log
		on ws_ingest.completed test_log
		on ws_ingest.rejected test_log
		on ws_ingest.expired test_log
	}
}
http://localhost:%s {
	%s
	ws_ingest {
		store file %s
		expire 2s
	}
	reverse_proxy %s
}
`, ports[0], more, dir, b.addr())
		adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(config), nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := caddy.Load(adapted, true); err != nil {
			t.Fatal(err)
		}
	}
	load("")
	defer func() {
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
	}()
	url := "ws://localhost:" + ports[0]
	begin := func(id resume.ID) *peer {
		p := dial(t, url, nil, protocol.Subprotocol)
		o := open(id, 4)
		o.Type, o.Metadata = "text/plain", map[string]string{"album": "7"}
		p.Send(o)
		next[*protocol.Ready](p)
		return p
	}
	done, refused, left := resume.NewID(), resume.NewID(), resume.NewID()
	p := begin(done)
	p.Data([]byte("da"))
	p.WS.CloseNow()
	p = begin(done)
	load("header X-Changed yes") // the connection is from before, the events app is not
	p.Data([]byte("ta"))
	p.Send(&protocol.Finish{})
	next[*protocol.Done](p)
	b.mu.Lock()
	b.answer = func(w http.ResponseWriter, _ *http.Request, _ taken) { w.WriteHeader(http.StatusUnprocessableEntity) }
	b.mu.Unlock()
	p = begin(refused)
	p.Data([]byte("data"))
	p.Send(&protocol.Finish{})
	next[*protocol.Error](p)
	p = begin(left)
	p.Data([]byte("da"))
	p.WS.CloseNow()

	of := func(id resume.ID) (names []string) {
		remembered.Lock()
		defer remembered.Unlock()
		for _, e := range remembered.events {
			if e.Data["id"] == string(id) {
				names = append(names, strings.TrimPrefix(e.Name(), "ws_ingest."))
			}
		}
		return names
	}
	for id, want := range map[resume.ID][]string{
		done:    {"opened", "resumed", "completed"},
		refused: {"opened", "completed", "rejected"},
		left:    {"opened", "expired"},
	} {
		within(t, 15*time.Second, fmt.Sprintf("the events %v of %s", want, id), func() bool { return slices.Equal(of(id), want) })
	}
	remembered.Lock()
	defer remembered.Unlock()
	for _, e := range remembered.events {
		if e.Name() == "ws_ingest.completed" && e.Data["id"] == string(done) {
			data, _ := json.Marshal(e.Data)
			for _, want := range []string{`"album":"7"`, `"length":4`, `"name":"a.bin"`, `"type":"text/plain"`, `"owner":""`} {
				if !strings.Contains(string(data), want) {
					t.Errorf("the event's data is %s, expected %s in it", data, want)
				}
			}
		}
	}
}
