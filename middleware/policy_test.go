package middleware_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/wsingest/wsingest/middleware"
	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/resume"
)

func TestAForeignUploadLooksLikeOneThatIsNotThere(t *testing.T) {
	r := newRig(t, rigOptions{Options: middleware.Options{
		Owner: func(r *http.Request) string { return r.URL.Query().Get("user") },
	}})
	id := resume.NewID()
	as := func(user string) *peer { return r.dial("user="+user, protocol.Subprotocol) }
	alice := as("alice")
	alice.Send(open(id, 1000))
	next[*protocol.Ready](alice)
	alice.Data(content(1, 500))
	alice.Acked(500)

	var answers []string
	for _, bob := range []*protocol.Open{
		open(id, 1000),                             // alice's, to create
		{ID: string(id), Resume: true},             // alice's, to resume
		{ID: string(resume.NewID()), Resume: true}, // nobody's
	} {
		p := as("bob")
		p.Send(bob)
		e := fails(p, protocol.NotFound)
		e.ID = ""
		answers = append(answers, string(protocol.Encode(e)))
	}
	for _, a := range answers[1:] {
		if a != answers[0] {
			t.Errorf("the answers can be told apart:\n%s\n%s", answers[0], a)
		}
	}
	// And alice was not disturbed.
	alice.Data(content(2, 500))
	alice.Send(&protocol.Finish{})
	next[*protocol.Done](alice)
}

func TestOnOpenDecides(t *testing.T) {
	r := newRig(t, rigOptions{Options: middleware.Options{
		MaxSize: 1 << 20,
		OnOpen: func(_ context.Context, o *middleware.Opening) error {
			switch o.Info.Name {
			case "secret.txt":
				return errors.New("secrets are not taken here")
			case "quota.txt":
				return &middleware.Refusal{Code: protocol.QuotaExceeded, Detail: "You have used 5 GiB of 5 GiB.", RetryAfter: time.Minute}
			case "small.txt":
				o.MaxSize = 10
			case "old.txt":
				o.Info.Name = "new.txt"
			}
			return nil
		},
	}})
	try := func(name string, length int64) *peer {
		p := r.full()
		o := open(resume.NewID(), length)
		o.Name = name
		p.Send(o)
		return p
	}
	if e := fails(try("secret.txt", 5), protocol.Forbidden); e.Detail != "Secrets are not taken here" || e.Resumable {
		t.Errorf("got %s", protocol.Encode(e))
	}
	if e := fails(try("quota.txt", 5), protocol.QuotaExceeded); e.RetryAfterMS != 60_000 || !e.Resumable {
		t.Errorf("got %s", protocol.Encode(e))
	}
	fails(try("small.txt", 11), protocol.MaxSizeExceeded)

	p := r.full() // the lowered limit holds for an unknown length, too
	p.Send(&protocol.Open{ID: string(resume.NewID()), Name: "small.txt"})
	if ready := next[*protocol.Ready](p); ready.Limits.MaxSize != 10 {
		t.Errorf("ready announces max-size %d, expected 10", ready.Limits.MaxSize)
	}
	p.Data(make([]byte, 11))
	fails(p, protocol.MaxSizeExceeded)

	p = try("old.txt", 5)
	next[*protocol.Ready](p)
	p.Data([]byte("hello"))
	p.Send(&protocol.Finish{})
	next[*protocol.Done](p)
	if cd := r.app.seen()[0].header.Get("Content-Disposition"); cd != "attachment; filename=new.txt" {
		t.Errorf("Content-Disposition is %q, expected the new name", cd)
	}
}

func TestOneConnectionTooManyIsToldWhenToComeBack(t *testing.T) {
	r := newRig(t, rigOptions{Options: middleware.Options{MaxConnections: 2}})
	ready(r.dial(""))
	b := ready(r.dial(""))
	if resp := r.upgrade("/upload/", nil); resp.StatusCode != 503 || resp.Header.Get("Retry-After") != "5" {
		t.Errorf("answered %d, Retry-After %q", resp.StatusCode, resp.Header.Get("Retry-After"))
	}
	b.WS.CloseNow()
	waitFor(t, func() bool { return r.upgrade("/upload/", nil).StatusCode == 101 })
}

func TestNonsenseOptionsAreRefusedByName(t *testing.T) {
	store := newRig(t, rigOptions{}).store
	for name, o := range map[string]middleware.Options{
		"MaxSize":                  {MaxSize: -1},
		"MaxConnections":           {MaxConnections: -1},
		"Memory":                   {Memory: 1000},
		"MaxLifetime":              {MaxLifetime: -time.Second},
		"MaxUploadsPerOwner":       {MaxUploadsPerOwner: -1},
		"MaxConnectionsPerOwner":   {MaxConnectionsPerOwner: -1},
		"MaxConnectionsPerAddress": {MaxConnectionsPerAddress: -1},
		"Bandwidth.PerOwner":       {Bandwidth: middleware.Bandwidth{PerOwner: 1000}},
		"DeliverFor":               {DeliverFor: -time.Second},
		"AllowedOrigins":           {AllowedOrigins: []string{"[a"}},
		"Keepalive.Interval":       {Keepalive: middleware.Keepalive{Interval: time.Hour}},
		"Keepalive.Timeout":        {Keepalive: middleware.Keepalive{Interval: 10 * time.Second, Timeout: 11 * time.Second}},
		"Publish.Dir":              {Publish: &middleware.Publish{}},
		"Publish.OnConflict":       {Publish: &middleware.Publish{Dir: "/x", OnConflict: "merge"}},
		"Publish.Mode":             {Publish: &middleware.Publish{Dir: "/x", Mode: 0o7777}},
		"Publish.Owner":            {Publish: &middleware.Publish{Dir: "/x", Owner: &resume.FileOwner{UID: -2}}},
		"Routes":                   {Routes: []string{"/ok/", "not a pattern at all"}},
		"cannot publish files":     {Publish: &middleware.Publish{Dir: "/x"}},
	} {
		var s resume.Store = store
		if name == "cannot publish files" {
			s = &gateStore{Store: store}
		}
		if _, err := middleware.New(s, o); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: the error is %v, expected it to name the option", name, err)
		}
	}
	if _, err := middleware.New(nil, middleware.Options{}); err == nil {
		t.Error("no store is accepted")
	}
}

func TestEveryEventIsObserved(t *testing.T) {
	events := make(chan middleware.Event, 100)
	r := newRig(t, rigOptions{Options: middleware.Options{Observer: func(e middleware.Event) { events <- e }}})
	id := resume.NewID()
	for i := range 2 {
		p := r.full()
		p.Send(open(id, 10))
		next[*protocol.Ready](p)
		p.Data(make([]byte, 5))
		p.Acked(int64(5 + 5*i))
		if i == 1 {
			p.Send(&protocol.Finish{})
			next[*protocol.Done](p)
		}
		p.WS.Close(1000, "")
	}
	r.full().Text("nonsense")
	r.upgrade("/upload/", map[string]string{"Origin": "http://evil.example"})
	missing := map[middleware.EventKind]bool{
		middleware.Connected: true, middleware.Disconnected: true, middleware.Opened: true, middleware.Resumed: true,
		middleware.Completed: true, middleware.Delivered: true, middleware.Failed: true, middleware.Refused: true,
		middleware.Durable: true, middleware.Attempted: true,
	}
	for len(missing) > 0 {
		select {
		case e := <-events:
			delete(missing, e.Kind)
		case <-deadline(t).Done():
			t.Fatalf("never observed: %v", missing)
		}
	}
}

// A client that takes work off a slow lane opens the upload again on the same
// connection, many times in a large file. That is nobody's news.
func TestALaneThatGoesOnElsewhereIsNoResumption(t *testing.T) {
	events := make(chan middleware.EventKind, 100)
	r := newRig(t, rigOptions{Options: middleware.Options{Observer: func(e middleware.Event) { events <- e.Kind }}})
	id, p := resume.NewID(), r.full()
	for _, start := range []int64{0, 1000, 500} {
		end := start + 500
		p.Send(&protocol.Open{ID: string(id), Range: &protocol.Range{Start: start, End: &end}})
		next[*protocol.Ready](p)
	}
	other := r.full()
	other.Send(open(id, 2000))
	next[*protocol.Ready](other) // what it is about is observed before
	counts := map[middleware.EventKind]int{}
	for range len(events) {
		counts[<-events]++
	}
	if counts[middleware.Opened] != 1 || counts[middleware.Resumed] != 1 {
		t.Errorf("observed %v, expected one upload opened, and resumed once", counts)
	}
}

// wrapped is what access logs and the like put around a ResponseWriter.
type wrapped struct{ http.ResponseWriter }

func (w wrapped) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// held is a writer like gin's, that keeps the status back.
type held struct {
	http.ResponseWriter
	status int
}

func (h *held) WriteHeader(status int)      { h.status = status }
func (h *held) WriteHeaderNow()             { h.ResponseWriter.WriteHeader(h.status) }
func (h *held) Unwrap() http.ResponseWriter { return h.ResponseWriter }

func TestTheConnectionIsFoundBehindWrappingWriters(t *testing.T) {
	for name, wrap := range map[string]func(http.ResponseWriter) http.ResponseWriter{
		"unwrap twice": func(w http.ResponseWriter) http.ResponseWriter { return wrapped{wrapped{w}} },
		"gin":          func(w http.ResponseWriter) http.ResponseWriter { return wrapped{&held{ResponseWriter: w}} },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, rigOptions{under: func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { next.ServeHTTP(wrap(w), r) })
			}})
			p := r.dial("length=5")
			p.Data([]byte("hello"))
			next[*protocol.Ready](p)
			next[*protocol.Done](p)
		})
	}
}
