package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/wsingest/wsingest/examples/browser"
	"github.com/wsingest/wsingest/examples/browser/chromium"
)

// The loop of README.md, with the client of this repository.
const inPage = `(async () => {
  const { Upload } = await import('/wsingest.js');
  const { report, cases } = await (await fetch(%q, { method: 'POST' })).json();
  const left = cases.values();
  const play = async () => {
    for (const { name, upload, content, verdict, stream, ticket } of left) {
      const blob = await (await fetch(content)).blob();
      const from = stream ? blob.stream() : new File([blob], name + '.bin');
      const { outcome, said } = await new Upload(from, { url: upload, ticket }).start().then(
        () => ({ outcome: 'success', said: 'done' }),
        (error) => ({ outcome: 'failure', said: error.message + ' ' + (error.response?.body ?? '') }));
      await fetch(verdict, { method: 'POST', body: JSON.stringify({ outcome, said }) });
    }
  };
  await Promise.all(Array.from({ length: 8 }, play));
  return await (await fetch(report)).text();
})()`

// With nothing beside it: eight cases at once are much for a browser.
func TestBrowserClientPasses(t *testing.T) {
	outside(t)
	s := &server{}
	web := httptest.NewServer(s.handler())
	t.Cleanup(web.Close)
	files := http.FileServerFS(browser.Modules)
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			files.ServeHTTP(w, r)
			return
		}
		fmt.Fprint(w, "<!doctype html><title>conformance</title>")
	}))
	t.Cleanup(page.Close)

	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	t.Cleanup(cancel)
	ctx, stop, err := chromium.Start(ctx, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	if err := chromedp.Do(ctx, chromedp.Navigate(page.URL)); err != nil {
		t.Fatal(err)
	}
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string](fmt.Sprintf(inPage, web.URL+"/runs"), chromedp.EvalAwaitPromise))
	if err != nil {
		for _, r := range s.rounds {
			for _, p := range r.plays {
				if p.mu.Lock(); p.verdict == nil {
					t.Logf("%s: no verdict\n%q", p.c.Name, p.trace)
				}
				p.mu.Unlock()
			}
		}
		t.Fatal(err)
	}
	var report struct{ Cases []result }
	if err := json.Unmarshal([]byte(text), &report); err != nil {
		t.Fatal(err)
	}
	if len(report.Cases) != len(Cases()) {
		t.Errorf("%d cases in the report, expected %d", len(report.Cases), len(Cases()))
	}
	mustPass(t, report.Cases)
}
