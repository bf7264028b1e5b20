package main

import (
	_ "embed"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"testing"

	"github.com/wsingest/wsingest/middleware"
)

//go:embed testdata/worker.js
var workerJS string

// script serves one beside the page.
func script(path, text string) func(*http.ServeMux) {
	return func(mux *http.ServeMux) {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/javascript")
			io.WriteString(w, text)
		})
	}
}

// A worker uploads a file it was given, and another goes on with it when the
// first is gone.
func TestWorker(t *testing.T) {
	t.Parallel()
	const size = 12 << 20
	addr, files := serveWith(t, middleware.Options{}, script("/worker.js", workerJS), script("/wire.js", wireJS))
	v := newValve(t, addr)
	v.rate.Store(slow)
	b := visit(t, v.url())
	ask[bool](b, fmt.Sprintf(`
		const file = new File([bytes(0, %d)], "worker.bin", {lastModified: 1});
		globalThis.hire = () => {
			globalThis.says = {};
			globalThis.worker = new Worker("/worker.js", {type: "module"});
			worker.onmessage = ({data}) => Object.assign(says, data);
			worker.onerror = (event) => { says.error = event.message || "the worker could not be started"; };
			worker.postMessage({file, options: {}});
		};
		hire();
		return true`, size))
	says := func(what string) func() bool {
		return func() bool {
			if e := eval[string](b, `says.error ?? ""`); e != "" {
				t.Fatal(e)
			}
			return eval[bool](b, what)
		}
	}
	b.until("half has arrived", says(fmt.Sprintf(`says.progress?.received > %d`, size/2)))
	durable := eval[int64](b, `says.progress.durable`)
	eval[bool](b, `worker.terminate(), hire(), true`)
	b.until("it goes on", says(`says.progress?.received > 0`))
	v.rate.Store(0)
	b.until("it is done", says(`says.result !== undefined`))
	if typ := eval[string](b, `says.document`); typ != "undefined" {
		t.Errorf("document is %s: was it a worker?", typ)
	}
	wire := eval[[]counted](b, `says.wire`)
	if len(wire) != 1 || wire[0].Cursor < durable || wire[0].Sent != size-wire[0].Cursor {
		t.Errorf("%d bytes were safe, the second worker sent %+v", durable, wire)
	}
	expectFile(t, filepath.Join(files, "worker.bin"), arithmetic(size))
}
