package flow

import (
	"container/heap"
	"math/rand"
	"time"
)

// A path is a simulated line from a client to a store. All of it is
// deterministic: the same path gives the same run.
type path struct {
	timeout  time.Duration // the client's ping timeout
	rate     float64       // of the link, bytes a second
	changes  []change      // of the rate, in order of time
	rtt      time.Duration // half each way, without any queue
	detour   detour        // another round trip from some time on
	jitter   time.Duration // up to this much more each way, order kept
	kernel   int64         // the client's socket buffer; 0: endless
	store    float64       // bytes a second; 0: 4 GiB/s
	stalls   []span        // of the store
	holes    []span        // a lost packet holds up what comes behind it
	pauses   []span        // of the client, with nothing to send
	far      bool          // the narrow place is at the server's end
	ragged   bool          // the client fills its credit with part of a chunk
	coarse   bool          // Arrived is called for the first byte of a message, and its end
	whole    bool          // received moves at the end of a message only
	eager    bool          // the client sends right behind open
	memory   []room        // SetMax, in order of time
	settled  time.Duration // when the window should have found its size
	duration time.Duration
	seed     int64
}

type change struct {
	at   time.Duration
	rate float64
}

type detour struct{ at, rtt time.Duration }

type room struct {
	at time.Duration
	n  int64
}

type span struct{ at, length time.Duration }

// end returns when a span that holds t ends, or t.
func end(spans []span, t time.Duration) time.Duration {
	for _, s := range spans {
		if t >= s.at && t < s.at+s.length {
			t = s.at + s.length
		}
	}
	return t
}

// A credit is what the simulated server asks for credit: a Controller, or the
// lack of one.
type credit interface {
	Arrived(now time.Duration, n int64)
	Due(stored int64) bool
	Grant(now time.Duration, stored int64) (window, chunk int64)
	SetMax(n int64)
	Edge() int64
}

// A message is file data in the client's socket buffer.
type message struct {
	size, left int64
	queued     time.Duration // when the client wrote it
	begun      time.Duration // when its first byte went out
}

// A run is a simulated upload. Its fields are grouped by where they live.
type run struct {
	path
	credit
	now    time.Duration
	events events
	random *rand.Rand
	seq    int

	// client
	sent, told, chunk int64
	socket            []message
	socketBytes       int64
	sending           bool

	// link
	reached   time.Duration // when the latest byte has come the whole way
	heard     time.Duration // arrival of the latest ack
	untilRead int64         // bytes of a message not told to Arrived yet

	// server
	arrived, stored, received int64
	ends                      []int64 // of messages not stored yet
	writing                   bool

	// findings
	worstPing  time.Duration // of a ping sent at the worst possible moment
	latePing   time.Duration // the same, of pings answered from settled on
	worstFrame time.Duration // time one message occupied the line
	overran    bool          // more arrived than Edge allows, or Edge went back
	grants     []granted
	progress   []mark
}

type granted struct {
	at            time.Duration
	window, chunk int64
	stored, edge  int64
	rate          int64 // measured
}

type mark struct {
	at     time.Duration
	stored int64
}

// simulate runs an upload without end over a path for its duration.
func simulate(p path, c credit) *run {
	r := &run{path: p, credit: c, random: rand.New(rand.NewSource(p.seed))}
	if r.store == 0 {
		r.store = 4 << 30
	}
	if r.kernel == 0 {
		r.kernel = 1 << 60
	}
	for _, m := range p.memory {
		r.at(m.at, func() { r.SetMax(m.n); r.ack() })
	}
	for _, s := range p.pauses {
		r.at(s.at+s.length, r.send)
	}
	if p.eager {
		r.told, r.chunk = r.Edge(), 64<<10
		r.send()
	}
	r.grant()
	for len(r.events) > 0 && r.events[0].at <= p.duration {
		e := heap.Pop(&r.events).(event)
		r.now = e.at
		e.do()
	}
	return r
}

// send is the client: it writes messages as long as it has credit and room.
func (r *run) send() {
	for r.socketBytes < r.kernel && end(r.pauses, r.now) == r.now {
		n := min(r.chunk, r.told-r.sent)
		if n <= 0 || n < r.chunk && !r.ragged {
			break
		}
		r.sent += n
		r.socketBytes += n
		m := message{size: n, left: n, queued: r.now}
		if !r.far {
			r.socket = append(r.socket, m)
			continue
		}
		r.reached = max(r.reached, r.now+r.delay())
		r.at(r.reached, func() {
			r.socket = append(r.socket, m)
			r.transmit()
		})
	}
	r.transmit()
}

// transmit is the link: it carries one piece after the other, a millisecond's
// worth or a packet's payload, whichever is more.
func (r *run) transmit() {
	if r.sending || len(r.socket) == 0 {
		return
	}
	m := &r.socket[0]
	if m.left == m.size {
		m.begun = r.now
	}
	n := min(m.left, max(1400, int64(r.rateAt(r.now)/1000)))
	done := r.carried(n)
	r.sending = true
	r.at(done, func() {
		r.sending = false
		m := &r.socket[0]
		m.left -= n
		r.socketBytes -= n
		arrival := r.now
		if !r.far {
			arrival = end(r.holes, max(r.reached, r.now+r.delay()))
			r.reached = arrival
		}
		first, whole, queued := m.left+n == m.size, m.left == 0, m.queued
		if whole {
			r.worstFrame = max(r.worstFrame, r.now-m.begun)
			r.socket = r.socket[1:]
		}
		r.at(arrival, func() { r.read(n, first, whole, queued) })
		r.send()
	})
}

// read is the server's reader.
func (r *run) read(n int64, first, whole bool, queued time.Duration) {
	// A ping written right behind this byte would be answered now.
	ping := r.now - queued + r.delay()
	r.worstPing = max(r.worstPing, ping)
	if r.now >= r.settled {
		r.latePing = max(r.latePing, ping)
	}
	r.arrived += n
	r.untilRead += n
	if whole {
		r.ends = append(r.ends, r.arrived)
	}
	if r.coarse && first {
		r.Arrived(r.now, 1)
		r.untilRead--
	}
	if r.untilRead > 0 && (whole || !r.coarse) {
		r.Arrived(r.now, r.untilRead)
		r.untilRead = 0
	}
	r.overran = r.overran || r.arrived > r.Edge()
	r.write()
}

// write is the server's writer and its store.
func (r *run) write() {
	block := max(min(int64(r.store/50), 256<<10), 1400)
	n := min(r.arrived-r.untilRead-r.stored, block)
	if r.writing || n == 0 {
		return
	}
	r.writing = true
	done := end(r.stalls, end(r.stalls, r.now)+seconds(float64(n)/r.store))
	r.at(done, func() {
		r.writing = false
		r.stored += n
		if !r.whole {
			r.received = r.stored
		}
		for len(r.ends) > 0 && r.ends[0] <= r.stored {
			r.received = r.ends[0]
			r.ends = r.ends[1:]
		}
		r.progress = append(r.progress, mark{r.now, r.stored})
		r.ack()
		r.write()
	})
}

func (r *run) ack() {
	if r.Due(r.received) {
		r.grant()
	}
}

func (r *run) grant() {
	before := r.Edge()
	window, chunk := r.Grant(r.now, r.received)
	r.overran = r.overran || r.Edge() < before || r.Edge() < r.received+window
	edge := r.received + window
	g := granted{r.now, window, chunk, r.received, edge, 0}
	if c, ok := r.credit.(*Controller); ok {
		g.rate = c.Rate()
	}
	r.grants = append(r.grants, g)
	r.heard = max(r.heard, r.now+r.delay())
	r.at(r.heard, func() {
		r.told, r.chunk = edge, chunk
		r.send()
	})
}

// goodput returns the bytes stored a second between two times.
func (r *run) goodput(from, to time.Duration) float64 {
	return float64(r.storedAt(to)-r.storedAt(from)) / (to - from).Seconds()
}

func (r *run) storedAt(t time.Duration) (n int64) {
	for _, m := range r.progress {
		if m.at > t {
			break
		}
		n = m.stored
	}
	return n
}

func (r *run) windowAt(t time.Duration) (w int64) {
	for _, g := range r.grants {
		if g.at > t {
			break
		}
		w = g.window
	}
	return w
}

func (p *path) rateAt(t time.Duration) float64 {
	rate := p.rate
	for _, c := range p.changes {
		if c.at <= t {
			rate = c.rate
		}
	}
	return rate
}

// carried returns when n bytes that leave now have left.
func (r *run) carried(n int64) time.Duration {
	t, left := r.now, float64(n)
	for _, c := range r.changes {
		if c.at <= t {
			continue
		}
		if could := r.rateAt(t) * (c.at - t).Seconds(); could < left {
			left -= could
			t = c.at
		}
	}
	return t + seconds(left/r.rateAt(t))
}

// delay returns the time from one end to the other, now.
func (r *run) delay() time.Duration {
	d := r.rtt / 2
	if r.detour.rtt > 0 && r.now >= r.detour.at {
		d = r.detour.rtt / 2
	}
	if r.jitter > 0 {
		d += time.Duration(r.random.Int63n(int64(r.jitter)))
	}
	return d
}

func (r *run) at(t time.Duration, do func()) {
	r.seq++
	heap.Push(&r.events, event{t, r.seq, do})
}

type event struct {
	at  time.Duration
	seq int
	do  func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].seq < e[j].seq
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	old := *e
	x := old[len(old)-1]
	*e = old[:len(old)-1]
	return x
}
