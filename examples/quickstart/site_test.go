package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// A page of another site, in the browser of somebody who uploads here, gets no
// connection; his upload goes on beside it.
func TestAPageOfAnotherSiteGetsNoConnection(t *testing.T) {
	t.Parallel()
	p, v, b := visitAt(t, slow)
	want := content(6 << 20)
	b.choose(file(t, "film.bin", want))
	b.arrived(0.1)
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Content-Type", "text/html") }))
	t.Cleanup(other.Close)

	url := "ws" + strings.TrimPrefix(v.url(), "http") + "upload/"
	try := func(tab *tab, protocols string) string {
		return eval[string](tab, fmt.Sprintf(`new Promise((tell) => {
			const ws = new WebSocket(%q, %s);
			ws.onopen = () => { tell("open"); ws.close(); };
			ws.onclose = () => tell("closed");
		})`, url, protocols))
	}
	elsewhere := b.another(other.URL)
	for _, protocols := range []string{`["wsingest.v1"]`, `[]`} {
		if got := try(elsewhere, protocols); got != "closed" {
			t.Errorf("from another site, with the subprotocols %s, the connection is %s", protocols, got)
		}
		if got := try(b, protocols); got != "open" {
			t.Errorf("from the page itself, with the subprotocols %s, the connection is %s", protocols, got)
		}
	}
	b.await("done")
	expectFile(t, p.published("film.bin"), want)
}
