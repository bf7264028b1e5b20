package middleware_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/wsingest/wsingest/middleware"
	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/middleware/protocol/protocoltest"
	"github.com/wsingest/wsingest/middleware/ticket"
	"github.com/wsingest/wsingest/resume"
)

var (
	ticketKey = []byte("a key that only app and server know")
	otherKey  = []byte("another key that only others can know")
)

func ticketRig(t *testing.T, o middleware.Options) *rig {
	t.Helper()
	o.Tickets = verifier(t, ticketKey)
	return newRig(t, rigOptions{Options: o})
}

func mint(t *testing.T, key []byte, c ticket.Claims) string {
	t.Helper()
	if c.Expires.IsZero() {
		c.Expires = time.Now().Add(time.Hour)
	}
	s, err := ticket.Mint(key, c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// with is an open with a ticket.
func with(s string, id resume.ID, length int64) *protocol.Open {
	o := open(id, length)
	o.Ticket = s
	return o
}

func num(n int64) *int64 { return &n }

// TestAttacksOnTickets: each is answered as it should be, nothing comes of it,
// and an upload that runs meanwhile is not disturbed.
func TestAttacksOnTickets(t *testing.T) {
	r := ticketRig(t, middleware.Options{MaxSize: 1 << 30, Owner: func(*http.Request) string { return "somebody" }})
	const adasLength = 40 * bystanderStep
	adas := resume.NewID()
	adasTicket := mint(t, ticketKey, ticket.Claims{ID: string(adas), Owner: "ada", Length: num(adasLength)})
	ada := newBystander(t, r, with(adasTicket, adas, adasLength))

	good := ticket.Claims{Owner: "eve", Route: "/upload/", Name: "a.bin", Type: "application/x-test", Length: num(13)}
	change := func(f func(*ticket.Claims)) ticket.Claims {
		c := good
		f(&c)
		return c
	}
	genuine := mint(t, ticketKey, good)
	head, _, _ := strings.Cut(genuine[len("wst1."):], ".")
	attacks := map[string]struct {
		ticket string
		change func(*protocol.Open)
		code   protocol.Code
		detail string
	}{
		"no ticket":             {"", nil, protocol.Forbidden, "need a ticket"},
		"garbage":               {"open sesame", nil, protocol.Forbidden, "form"},
		"huge":                  {genuine + strings.Repeat("A", 60_000), nil, protocol.Forbidden, "at most 8192"},
		"forged with a key":     {mint(t, otherKey, good), nil, protocol.Forbidden, "key"},
		"forged without one":    {"wst1." + head + ".", nil, protocol.Forbidden, "key"},
		"changed":               {"wst1." + strings.ToLower(head) + genuine[len("wst1.")+len(head):], nil, protocol.Forbidden, "key"},
		"algorithm of none":     {"eyJhbGciOiJub25lIn0." + head + ".", nil, protocol.Forbidden, "wst1"},
		"expired":               {mint(t, ticketKey, change(func(c *ticket.Claims) { c.Expires = time.Now().Add(-time.Minute) })), nil, protocol.Forbidden, "expired"},
		"another route":         {mint(t, ticketKey, change(func(c *ticket.Claims) { c.Route = "/avatars/" })), nil, protocol.Forbidden, "/avatars/"},
		"a route within":        {mint(t, ticketKey, change(func(c *ticket.Claims) { c.Route = "/upload/eve" })), nil, protocol.Forbidden, "/upload/eve"},
		"another name":          {genuine, func(o *protocol.Open) { o.Name = "b.bin" }, protocol.Forbidden, `"b.bin"`},
		"another type":          {genuine, func(o *protocol.Open) { o.Type = "text/html" }, protocol.Forbidden, `"text/html"`},
		"longer than the exact": {genuine, func(o *protocol.Open) { o.Length = num(14) }, protocol.Forbidden, "13 bytes"},
		"shorter":               {genuine, func(o *protocol.Open) { o.Length = num(12) }, protocol.Forbidden, "13 bytes"},
		"longer than allowed": {mint(t, ticketKey, change(func(c *ticket.Claims) { c.Length, c.MaxSize = nil, 12 })), nil,
			protocol.MaxSizeExceeded, "at most 12 bytes"},
		"longer than the server allows": {mint(t, ticketKey, change(func(c *ticket.Claims) { c.Length, c.MaxSize = nil, 1<<40 })),
			func(o *protocol.Open) { o.Length = num(1<<30 + 1) }, protocol.MaxSizeExceeded, "at most 1073741824 bytes"},
		"of another upload":    {mint(t, ticketKey, change(func(c *ticket.Claims) { c.ID = string(resume.NewID()) })), nil, protocol.Forbidden, "one upload"},
		"ada's, for a new one": {adasTicket, nil, protocol.Forbidden, "one upload"},
		"eve's, for ada's": {mint(t, ticketKey, ticket.Claims{Owner: "eve"}), func(o *protocol.Open) { o.ID, o.Length = string(adas), num(adasLength) },
			protocol.NotFound, ""},
		"eve's, expired, for ada's": {mint(t, ticketKey, ticket.Claims{Owner: "eve", Expires: time.Now().Add(-time.Minute)}),
			func(o *protocol.Open) { o.ID, o.Length = string(adas), num(adasLength) }, protocol.Forbidden, "expired"},
		"nobody's, for ada's": {mint(t, ticketKey, ticket.Claims{}), func(o *protocol.Open) { o.ID, o.Length = string(adas), num(adasLength) },
			protocol.NotFound, ""},
		"eve's, to resume ada's": {mint(t, ticketKey, ticket.Claims{Owner: "eve"}), func(o *protocol.Open) { o.ID, o.Length, o.Resume = string(adas), nil, true },
			protocol.NotFound, ""},
		"a lane into ada's": {mint(t, ticketKey, ticket.Claims{Owner: "eve"}),
			func(o *protocol.Open) {
				o.ID, o.Length, o.Range = string(adas), num(adasLength), &protocol.Range{Start: adasLength - 9, End: num(adasLength)}
			}, protocol.NotFound, ""},
	}
	for name, a := range attacks {
		t.Run(name, func(t *testing.T) {
			p := protocoltest.New(t, r.full().WS)
			id := resume.NewID()
			o := with(a.ticket, id, 13)
			if a.change != nil {
				a.change(o)
			}
			p.Send(o)
			e := fails(p, a.code)
			if !strings.Contains(e.Detail, a.detail) {
				t.Errorf("the detail is %q, expected it to say %q", e.Detail, a.detail)
			}
			if strings.Contains(e.Detail, string(ticketKey)) {
				t.Errorf("the detail tells the key: %q", e.Detail)
			}
			if e.Resumable {
				t.Error("it is resumable: a client would try again")
			}
			if _, err := r.store.Stat(t.Context(), id); err == nil {
				t.Error("an upload came of it")
			}
			ada.goesOn()
		})
	}
	ada.ends(r)
	if n := len(r.app.seen()); n != 1 {
		t.Errorf("the app got %d files, expected ada's alone", n)
	}
	p := r.full()
	p.Send(with(genuine, resume.NewID(), 13))
	next[*protocol.Ready](p) // what the attacks were made of is good
}

// TestATicketUsedTwiceFindsTheSameUpload: while it runs, when it is done, and
// on another server.
func TestATicketUsedTwiceFindsTheSameUpload(t *testing.T) {
	r := ticketRig(t, middleware.Options{})
	id := resume.NewID()
	once := mint(t, ticketKey, ticket.Claims{ID: string(id), Owner: "ada"})
	p := r.full()
	p.Send(with(once, id, 10))
	next[*protocol.Ready](p)
	p.Data([]byte("01234"))
	p.Acked(5)
	q := r.full()
	q.Send(with(once, id, 10))
	if m := next[*protocol.Ready](q); m.Cursor != 5 {
		t.Errorf("the second use begins at %d, expected where the first was", m.Cursor)
	}
	fails(p, protocol.Superseded)
	q.Data([]byte("56789"))
	q.Send(&protocol.Finish{})
	next[*protocol.Done](q)

	another := newRig(t, rigOptions{store: r.store, Options: middleware.Options{Tickets: verifier(t, ticketKey)}})
	for _, r := range []*rig{r, another} {
		p := r.full()
		p.Send(with(once, id, 10))
		if m := next[*protocol.Ready](p); !m.Complete {
			t.Error("it begins anew when it was done")
		}
		next[*protocol.Done](p)
	}
	if n := len(r.app.seen()) + len(another.app.seen()); n != 1 {
		t.Errorf("%d files came of one ticket", n)
	}
}

func verifier(t *testing.T, keys ...[]byte) *ticket.Verifier {
	t.Helper()
	v, err := ticket.NewVerifier(keys...)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestAnUploadKeepsItsRightToFinish(t *testing.T) {
	r := ticketRig(t, middleware.Options{})
	id := resume.NewID()
	expires := time.Now().Add(2 * time.Second).Truncate(time.Second) // a second from now at least
	short := mint(t, ticketKey, ticket.Claims{Owner: "ada", Expires: expires, MaxSize: 10})
	p := r.full()
	p.Send(with(short, id, 10))
	next[*protocol.Ready](p)
	p.Data([]byte("01234"))
	p.Acked(5)
	p.WS.CloseNow()
	waitFor(t, func() bool { return time.Now().After(expires) })

	for name, o := range map[string]*protocol.Open{
		"a new one":          with(short, resume.NewID(), 10),
		"another owner's":    with(mint(t, ticketKey, ticket.Claims{Owner: "eve", Expires: expires}), id, 10),
		"one that was never": with(mint(t, ticketKey, ticket.Claims{Owner: "ada", Expires: expires.Add(-time.Hour)}), id, 10),
		"a forged one":       with(mint(t, otherKey, ticket.Claims{Owner: "ada", Expires: expires}), id, 10),
		"a narrower one":     with(mint(t, ticketKey, ticket.Claims{Owner: "ada", Expires: expires, Name: "b.bin"}), id, 10),
	} {
		q := r.full()
		q.Send(o)
		if e := next[*protocol.Error](q); e.Code != protocol.Forbidden {
			t.Errorf("%s: %s (%s), expected forbidden", name, e.Code, e.Detail)
		}
	}
	p = r.full()
	p.Send(with(short, id, 10))
	if m := next[*protocol.Ready](p); m.Cursor != 5 {
		t.Errorf("it goes on at %d, expected 5", m.Cursor)
	}
	p.Data([]byte("56789"))
	p.Send(&protocol.Finish{})
	next[*protocol.Done](p)
}

func TestTheTicketSaysWhatTheClientLeavesOpen(t *testing.T) {
	r := ticketRig(t, middleware.Options{Owner: func(*http.Request) string { return "the request's" }})
	for _, c := range []struct {
		claims ticket.Claims
		owner  string
	}{
		{ticket.Claims{Owner: "ada", Name: "b.png", Type: "image/png", Length: num(5)}, "ada"},
		{ticket.Claims{Name: "b.png", Type: "image/png", Length: num(5)}, "the request's"},
	} {
		id := resume.NewID()
		p := r.full()
		p.Send(&protocol.Open{ID: string(id), Ticket: mint(t, ticketKey, c.claims)})
		if m := next[*protocol.Ready](p); m.Length == nil || *m.Length != 5 {
			t.Errorf("the length is %v, expected 5", m.Length)
		}
		st, err := r.store.Stat(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if st.Owner != c.owner || st.Name != "b.png" || st.Type != "image/png" {
			t.Errorf("the upload is %q of type %q of %q", st.Name, st.Type, st.Owner)
		}
		p.Data([]byte("123456"))
		fails(p, protocol.InconsistentLength)
	}
	p := r.full() // one that grows is stopped where it has grown too large
	p.Send(&protocol.Open{Ticket: mint(t, ticketKey, ticket.Claims{MaxSize: 5})})
	next[*protocol.Ready](p)
	p.Data([]byte("123456"))
	fails(p, protocol.MaxSizeExceeded)
}

// TestAnUploadIsHeldToItsTicketAsItIs: what the client says of an upload that
// is there already counts for nothing.
func TestAnUploadIsHeldToItsTicketAsItIs(t *testing.T) {
	free := newRig(t, rigOptions{})
	r := newRig(t, rigOptions{store: free.store, Options: middleware.Options{Tickets: verifier(t, ticketKey)}})
	id := resume.NewID()
	p := free.full()
	p.Send(&protocol.Open{ID: string(id), Name: "evil.html", Type: "text/html", Length: num(13)})
	next[*protocol.Ready](p)
	p.WS.CloseNow()
	for name, c := range map[string]ticket.Claims{
		"name": {Name: "a.bin"}, "type": {Type: "application/x-test"}, "length": {Length: num(12)}, "size": {MaxSize: 12},
	} {
		q := r.full()
		o := with(mint(t, ticketKey, c), id, 13)
		o.Length = nil
		q.Send(o)
		if e := next[*protocol.Error](q); e.Code != protocol.Forbidden && e.Code != protocol.MaxSizeExceeded {
			t.Errorf("%s: %s (%s), expected a refusal", name, e.Code, e.Detail)
		}
	}
}

func TestTheDigestOfTheTicketIsCompared(t *testing.T) {
	r := ticketRig(t, middleware.Options{})
	data := content(1, 13)
	grant := mint(t, ticketKey, ticket.Claims{SHA256: sum(data)})
	for name, c := range map[string]struct {
		data   []byte
		digest *protocol.Digest
		good   bool
	}{
		"the content":                         {data, nil, true},
		"the content, and its client says so": {data, &protocol.Digest{SHA256: sum(data)}, true},
		"other content":                       {content(2, 13), nil, false},
		"other content, as its client says":   {content(2, 13), &protocol.Digest{SHA256: sum(content(2, 13))}, false},
		"not what its client says":            {data, &protocol.Digest{SHA256: sum(content(2, 13))}, false},
	} {
		before := len(r.app.seen())
		p := r.full()
		p.Send(with(grant, resume.NewID(), 13))
		next[*protocol.Ready](p)
		p.Data(c.data)
		p.Send(&protocol.Finish{Digest: c.digest})
		if c.good {
			next[*protocol.Done](p)
		} else if e := next[*protocol.Error](p); e.Code != protocol.DigestMismatch || e.Resumable {
			t.Errorf("%s: %s (%s), expected digest-mismatch", name, e.Code, e.Detail)
		}
		if delivered := len(r.app.seen()) > before; delivered != c.good {
			t.Errorf("%s: delivered is %v", name, delivered)
		}
	}
}

func TestATicketIsAskedForBeforeTheHook(t *testing.T) {
	asked := make(chan string, 10)
	r := ticketRig(t, middleware.Options{OnOpen: func(_ context.Context, o *middleware.Opening) error {
		asked <- o.Info.Owner
		return fmt.Errorf("%s may not upload any more", o.Info.Owner)
	}})
	p := r.full()
	p.Send(open(resume.NewID(), 13))
	fails(p, protocol.Forbidden)
	p = r.full()
	p.Send(with(mint(t, ticketKey, ticket.Claims{Owner: "ada"}), resume.NewID(), 13))
	if e := fails(p, protocol.Forbidden); e.Detail != "Ada may not upload any more" {
		t.Errorf("the detail is %q", e.Detail)
	}
	if len(asked) != 1 || <-asked != "ada" {
		t.Error("the hook was not asked once, about ada")
	}
}

// TestPlainClientsBringTicketsInTheHeader, since a URL stands in logs.
func TestPlainClientsBringTicketsInTheHeader(t *testing.T) {
	r := ticketRig(t, middleware.Options{})
	grant := mint(t, ticketKey, ticket.Claims{Owner: "ada", Length: num(5)})
	dial := func(query, authorization string) *peer {
		header := http.Header{}
		if authorization != "" {
			header.Set("Authorization", authorization)
		}
		ws, _, err := websocket.Dial(deadline(t), r.url+"?"+query, &websocket.DialOptions{HTTPHeader: header})
		if err != nil {
			t.Fatal(err)
		}
		return protocoltest.New(t, ws)
	}
	p := dial("length=5", "Bearer "+grant)
	p.Data([]byte("hello"))
	next[*protocol.Ready](p)
	next[*protocol.Done](p)
	for _, c := range []struct{ query, authorization, detail string }{
		{"length=5", "", "need a ticket"},
		{"length=5", "Basic YTpi", "need a ticket"},
		{"length=5", "Bearer " + mint(t, otherKey, ticket.Claims{}), "key"},
		{"length=6", "Bearer " + grant, "5 bytes"},
		{"length=5&ticket=" + grant, "", "URL"},
	} {
		p := dial(c.query, c.authorization)
		if e := fails(p, protocol.Forbidden); !strings.Contains(e.Detail, c.detail) {
			t.Errorf("%s: the detail is %q, expected it to say %q", c.query, e.Detail, c.detail)
		}
	}
}
