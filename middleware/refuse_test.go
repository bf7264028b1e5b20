package middleware_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/wsingest/wsingest/middleware"
	"github.com/wsingest/wsingest/middleware/protocol"
)

func TestServerShowsRefusedUpgradesItsOwnWay(t *testing.T) {
	r := newRig(t, rigOptions{Options: middleware.Options{
		Refuse: func(w http.ResponseWriter, _ *http.Request, e *middleware.UpgradeError) {
			http.Error(w, "house style: "+e.Detail, e.Status)
		},
	}})
	for _, c := range []struct {
		name   string
		dial   websocket.DialOptions
		status int
		body   string
	}{
		{"foreign origin", websocket.DialOptions{HTTPHeader: http.Header{"Origin": {"https://elsewhere.example"}}}, http.StatusForbidden, "https://elsewhere.example"},
		{"unknown subprotocol", websocket.DialOptions{Subprotocols: []string{"chat"}}, http.StatusBadRequest, "chat"},
	} {
		_, resp, err := websocket.Dial(deadline(t), r.url, &c.dial)
		if err == nil {
			t.Fatalf("%s: upgraded", c.name)
		}
		body, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != c.status {
			t.Errorf("%s: status %d, expected %d", c.name, resp.StatusCode, c.status)
		}
		if got := string(body); !strings.HasPrefix(got, "house style: ") || !strings.Contains(got, c.body) {
			t.Errorf("%s: body %q, expected the hook's, naming %q", c.name, got, c.body)
		}
	}
}

func TestFileMakesAnotherRequest(t *testing.T) {
	var again request
	r := newRig(t, rigOptions{})
	r.app.answer = func(w http.ResponseWriter, req *http.Request, _ []byte) {
		f, ok := middleware.FileFrom(req)
		if !ok {
			t.Error("no file in the request's context")
			return
		}
		fresh, _ := http.NewRequest(http.MethodGet, "http://elsewhere.example/in", nil)
		fresh.Header.Set("Upgrade", "websocket")
		next := f.Request(req.Context(), fresh)
		body, _ := io.ReadAll(next.Body)
		again = request{next.Method, next.URL.String(), next.Header, next.ContentLength, body}
	}
	p := r.dial("length=4&name=a.txt&media-type=text/plain")
	next[*protocol.Ready](p)
	p.Data([]byte("data"))
	next[*protocol.Done](p)
	if again.method != http.MethodPost || again.url != "http://elsewhere.example/in" || again.length != 4 || string(again.body) != "data" {
		t.Errorf("the other request is %+v", again)
	}
	if h := again.header; h.Get("Upgrade") != "" || h.Get("Content-Type") != "text/plain" || h.Get("Content-Length") != "4" {
		t.Errorf("its header is %v", h)
	}
}
