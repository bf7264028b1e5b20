package caddymodule_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/resume"
	"github.com/wsingest/wsingest/resume/client"
)

// Behind a proxy that Caddy trusts, a connection counts as the client's whom the
// proxy names; from others, what they say of themselves means nothing.
func TestAnAddressIsWhatCaddySaysItIs(t *testing.T) {
	for name, tc := range map[string]struct {
		trust string
		other int // what a client hears that the proxy gives another address
	}{
		"trusted":   {"# global: servers {\n# global: \ttrusted_proxies static 127.0.0.0/8 ::1\n# global: }\n", http.StatusSwitchingProtocols},
		"untrusted": {"", http.StatusTooManyRequests},
	} {
		t.Run(name, func(t *testing.T) {
			s := startServer(t, tc.trust+"http://localhost:{{port}} {\n\tws_ingest {\n\t\tmax_connections 1 per_address\n\t}\n}\n")
			url := "ws://localhost:" + s.port
			from := func(address string) http.Header { return http.Header{"X-Forwarded-For": {address}} }
			dial(t, url, from("2001:db8:1:2::1"), protocol.Subprotocol)
			for address, want := range map[string]int{"2001:db8:1:2::2": http.StatusTooManyRequests, "192.0.2.7": tc.other} {
				ws, resp, err := websocket.Dial(deadline(t), url, &websocket.DialOptions{HTTPHeader: from(address)})
				if resp == nil || resp.StatusCode != want {
					t.Errorf("%s: %v, expected %d", address, err, want)
				}
				if err == nil {
					ws.CloseNow()
				}
			}
		})
	}
}

func TestLimitsOfACaddyfileHold(t *testing.T) {
	b := newBackend(t)
	s := startServer(t, fmt.Sprintf(`http://localhost:{{port}} {
	%s
	ws_ingest /upload/* {
		bandwidth 512KiB per_owner
		max_uploads 1 per_owner
		max_lifetime 1h
	}
	reverse_proxy %s
}
`, users, b.addr()))
	url := "ws://localhost:" + s.port + "/upload/a.bin"
	p := dial(t, url, alice, protocol.Subprotocol)
	p.Send(open(resume.NewID(), 10))
	if l := next[*protocol.Ready](p).Limits; l.MaxRate != 512<<10 || l.MaxLifetime < 3500 || l.MaxLifetime > 3600 {
		t.Errorf("ready says %+v", l)
	}
	p = dial(t, url, alice, protocol.Subprotocol)
	p.Send(open(resume.NewID(), 10))
	if e := next[*protocol.Error](p); e.Code != protocol.QuotaExceeded {
		t.Errorf("got %s", protocol.Encode(e))
	}

	path, digest := makeFile(t, 1<<20)
	began := time.Now()
	if _, err := put(deadline(t), url, path, client.Options{Header: bob}); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < 1500*time.Millisecond {
		t.Errorf("1 MiB came in %v, at 512 KiB a second", took)
	}
	if len(b.seen()) != 1 || b.seen()[0].digest != digest {
		t.Errorf("the backend saw %+v", b.seen())
	}
}
