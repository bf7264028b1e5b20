package main

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wsingest/wsingest/middleware/protocol"
)

// Finding is something that a client did wrong. Rule is the name of the case
// that is about it, which need not be the one in which it was seen.
type Finding struct {
	Rule  string `json:"rule"`
	Level Level  `json:"level"`
	Text  string `json:"text"`
}

// mostFindings bounds what is told of one rule in one case: the first say it.
const mostFindings = 3

// play is one case, played against one client.
type play struct {
	c     *Case
	round *round
	file  []byte

	mu       sync.Mutex // held by whoever does something, scripts included
	began    time.Time
	uploads  []*upload // by first open
	conns    []*conn
	refused  []time.Time // handshakes that were answered with a status
	act      int         // how far the script is, over all connections
	again    int64       // bytes that came although they were told to be durable
	findings []Finding
	skipped  string
	verdict  *verdict
	judged   bool
	trace    []string

	over   chan struct{} // closed when scripts are to end
	live   int           // scripts that run
	idle   *sync.Cond    // live went down
	closed bool          // no more connections: the case is over
}

// verdict is what the client says came of the upload.
type verdict struct {
	Outcome Outcome `json:"outcome"`
	Said    string  `json:"said"` // what it would tell a person
}

func newPlay(r *round, c *Case) *play {
	p := &play{c: c, round: r, file: make([]byte, c.size), over: make(chan struct{}), began: time.Now()}
	p.idle = sync.NewCond(&p.mu)
	h := fnv.New64a()
	h.Write([]byte(c.Name))
	// Random, so that bytes tell where in the file they are from; and the same
	// each time.
	random := rand.New(rand.NewPCG(h.Sum64(), 1))
	for i := range p.file {
		p.file[i] = byte(random.Uint32())
	}
	return p
}

// serve plays one connection.
func (p *play) serve(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		http.Error(w, "this case is over", http.StatusGone)
		return
	}
	p.live++
	defer func() { p.live--; p.idle.Broadcast() }()
	n := len(p.conns) + len(p.refused) + 1
	if !strings.Contains(strings.Join(r.Header.Values("Sec-WebSocket-Protocol"), ","), protocol.Subprotocol) {
		p.find("subprotocol", "the handshake offers the subprotocol %q, expected %s", r.Header.Get("Sec-WebSocket-Protocol"), protocol.Subprotocol)
	}
	if p.c.refuse != nil {
		if status := p.c.refuse(p, n); status != 0 {
			p.refused = append(p.refused, time.Now())
			p.note(nil, "handshake %d is answered with %d", n, status)
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(status)
			return
		}
	}
	wire, err := upgrade(w, r, p.c.bare == nil || !p.c.bare(p, n))
	if err != nil {
		return
	}
	defer wire.close()
	c := newConn(p, wire, r)
	p.conns = append(p.conns, c)
	p.note(c, "connection %d", c.n)
	if p.c.script == nil {
		c.serve()
		return
	}
	p.c.script(c)
}

// upload returns what is there under the id of an open, or begins it.
func (p *play) upload(m *protocol.Open) *upload {
	if i := slices.IndexFunc(p.uploads, func(u *upload) bool { return u.id == m.ID }); i >= 0 {
		return p.uploads[i]
	}
	if len(p.uploads) > 0 && !p.c.newID {
		p.find("same-id", "open has the id %s, expected %s as before", m.ID, p.uploads[0].id)
	}
	if other := p.round.claim(m.ID, p); other != p {
		p.find("id", "the id %s was used before, for the file of case %s", m.ID, other.c.Name)
	}
	u := &upload{id: m.ID, open: m, file: p.file, got: make([]bool, len(p.file))}
	p.uploads = append(p.uploads, u)
	return u
}

// derailing are the rules behind whose breach nothing that follows has a meaning
// of its own.
var derailing = []string{"open", "messages", "wait-for-ready", "cursor"}

// find notes that the client broke a rule.
func (p *play) find(rule, format string, args ...any) {
	f := Finding{rule, p.round.level(rule), fmt.Sprintf(format, args...)}
	for _, first := range derailing {
		if rule != first && p.told(first) > 0 {
			p.note(nil, "and so: %s: %s", rule, f.Text)
			return
		}
	}
	if p.told(rule) < mostFindings && !slices.Contains(p.findings, f) {
		p.findings = append(p.findings, f)
		p.note(nil, "WRONG (%s): %s", rule, f.Text)
	}
}

// told returns how much was found of a rule.
func (p *play) told(rule string) (n int) {
	for _, f := range p.findings {
		if f.Rule == rule {
			n++
		}
	}
	return n
}

// wrong notes that the client did not do what the case is about.
func (p *play) wrong(format string, args ...any) { p.find(p.c.Name, format, args...) }

// skip says that the situation did not come up.
func (p *play) skip(why string) {
	if p.skipped == "" {
		p.skipped = why
	}
}

// note adds to what is shown of the case when it went wrong.
func (p *play) note(c *conn, format string, args ...any) {
	who := "  "
	if c != nil {
		who = fmt.Sprintf("#%d", c.n)
	}
	p.trace = append(p.trace, fmt.Sprintf("%8.3f %s %s", time.Since(p.began).Seconds(), who, fmt.Sprintf(format, args...)))
}

// settle waits for the last frames of a client that gave its verdict, then ends
// the scripts. linger is how long a client that lives on is watched before that.
func (p *play) settle(linger time.Duration) {
	time.Sleep(linger)
	timer := time.AfterFunc(time.Second/2, func() { close(p.over) })
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.live > 0 {
		p.idle.Wait()
	}
	p.closed = true
	if timer.Stop() {
		close(p.over)
	}
}
