// Package flow decides how much an uploading client may send ahead, in
// messages of what size, and how often a silent line is pinged. It is
// arithmetic only: no goroutines, no clocks, no I/O. Time comes in as the time
// since the connection began.
//
// # What it protects
//
// A client that pings queues its ping behind its own unsent data. It lives
// while
//
//	outstanding / rate + round trip < its ping timeout
//
// and only the credit that the server grants bounds the outstanding bytes:
// smaller messages do not help, and what was granted cannot be taken back. So
// the window is kept to what the link would still drain in time if it became
// eight times slower at this moment.
//
// # How the link is measured
//
// From grants. Bytes beyond an edge can only have been sent after the grant
// that moved the edge arrived, and all bytes travel in order. So for a grant
// sent at time t, when a bytes had arrived and the old edge was e, and a later
// moment t' with a' bytes arrived,
//
//	rate >= (a' - a) / (t' - t)           equal if the client never ran dry
//	rate >= (a' - e) / (t' - t - rtt)     equal if it waited for this grant
//
// and whichever is larger is the rate. Neither the wait for credit nor a store
// that stands still can pass for a slow link. The first byte beyond the old
// edge, less the time of the grant, is an upper bound for the round trip, and
// exact if the client waited. Silence while credit is out is a client with
// nothing to send, and is left out.
package flow

import (
	"math"
	"math/bits"
	"time"
)

// Defaults of [Config], and the constants of the control law.
const (
	// DefaultClientTimeout is the ping timeout of Python's websockets, the
	// shortest default among common clients that ping at all.
	DefaultClientTimeout = 20 * time.Second
	// DefaultInitialWindow is what PROTOCOL.md lets a client send right
	// behind its first open.
	DefaultInitialWindow = 256 << 10
	// DefaultMaxWindow fills 1 Gbit/s at a round trip of 200 ms.
	DefaultMaxWindow = 64 << 20
	// DefaultMinChunk keeps a message at the floor rate to one second.
	DefaultMinChunk = 16 << 10
	// DefaultMaxChunk is where larger messages stop being any faster.
	DefaultMaxChunk = 768 << 10

	// minClientTimeout bounds what a client may claim: below it the window
	// would be a few hundred bytes.
	minClientTimeout = 250 * time.Millisecond

	// floorRate, in bytes a second, is the slowest link that is promised to
	// survive, at any client timeout: a poor 2G line.
	floorRate = 16 << 10

	// packet is what a link delivers at once: of a smaller read the rest may
	// be there already.
	packet = 1460

	// collapse is the drop in rate that a full window survives.
	collapse = 8

	// sampleFloor is the shortest time a rate is measured over: anything
	// shorter measures how the kernel hands over what it had already.
	sampleFloor = 10 * time.Millisecond

	// storeSlack is the pause of a store that the window hides on every
	// link: writes are handed over in blocks, and a disk hiccups.
	storeSlack = 50 * time.Millisecond

	// idleAfter is the silence, with credit out, from which a client is
	// taken to have nothing to send. It exceeds the spacing of packets on
	// the slowest link (1400 bytes at an eighth of floorRate: 0.7 s).
	idleAfter = time.Second
)

// Config says what a [Controller] may do. The zero value of a field means its
// default. Sizes are in bytes.
type Config struct {
	// ClientTimeout is how long the client waits for the pong to its own
	// ping before it gives up (20 s). It comes from the client, so a value
	// below 250 ms is taken as 250 ms and not refused.
	ClientTimeout time.Duration
	// InitialWindow is the credit a client has before it was granted any
	// (256 KiB). A client with a timeout below 18 s is granted less, see
	// [Controller.Window].
	InitialWindow int64
	// Eager says that the client may have begun before it was granted
	// anything, and so may have sent up to InitialWindow, whatever its
	// timeout.
	Eager bool
	// MaxWindow bounds the window for good (64 MiB); see also SetMax.
	MaxWindow int64
	// MinChunk is the smallest message asked for (16 KiB). It shrinks in
	// proportion where ClientTimeout is below 20 s.
	MinChunk int64
	// MaxChunk is the largest message asked for (768 KiB).
	MaxChunk int64
}

func (c Config) withDefaults() Config {
	if c.ClientTimeout == 0 {
		c.ClientTimeout = DefaultClientTimeout
	}
	c.ClientTimeout = max(c.ClientTimeout, minClientTimeout)
	if c.InitialWindow <= 0 {
		c.InitialWindow = DefaultInitialWindow
	}
	if c.MaxWindow <= 0 {
		c.MaxWindow = DefaultMaxWindow
	}
	if c.MinChunk <= 0 {
		c.MinChunk = DefaultMinChunk
	}
	if c.MaxChunk <= 0 {
		c.MaxChunk = DefaultMaxChunk
	}
	if c.ClientTimeout < DefaultClientTimeout {
		share := c.ClientTimeout.Seconds() / DefaultClientTimeout.Seconds()
		c.MinChunk = powerOfTwo(int64(float64(c.MinChunk) * share))
	}
	return c
}

// A Controller grants credit to one uploading connection. It counts the file
// bytes of the connection from zero, over all uploads that it carries.
//
// No method may run at the same time as another: hold one lock around all
// calls. None of them blocks, and none allocates.
//
// The caller
//   - calls Arrived from the goroutine that reads, as often as file bytes come
//     off the socket: at least at the first byte of a message and at its end,
//     better every few packets,
//   - asks Due whenever bytes have left its queue for the store, or after
//     SetMax, and if so sends an ack with what Grant returns,
//   - closes a connection on which more than Edge bytes have arrived.
type Controller struct {
	cfg Config
	max int64 // of the shared memory, now

	arrived int64         // bytes off the socket
	last    time.Duration // when the latest of them came

	edge   int64 // highest position ever granted
	told   int64 // edge by the latest grant
	window int64 // window by the latest grant
	stored int64 // stored by the latest grant

	grown int64         // window that demand has led to so far
	rate  float64       // bytes a second; 0: not known yet
	rtt   time.Duration // by now; 0: not known yet
	least time.Duration // lowest rtt ever: of a grant's wait only so much is certain
	best  float64       // highest rate since rtt was measured

	open pending // grants that have not drained, oldest first
}

// New returns the Controller of a new connection: nothing has arrived and the
// client has the credit it may use unasked.
func New(cfg Config) *Controller {
	cfg = cfg.withDefaults()
	c := &Controller{cfg: cfg, max: cfg.MaxWindow}
	// Two seconds of a long timeout, and half of a short one, are left for
	// the round trip.
	spend := max(cfg.ClientTimeout-2*time.Second, cfg.ClientTimeout/2)
	c.grown = min(cfg.InitialWindow, cfg.MaxWindow, int64(floorRate*spend.Seconds()))
	c.window = c.Window()
	c.edge, c.told = c.window, c.window
	if cfg.Eager {
		c.edge = cfg.InitialWindow
	}
	c.open.push(grant{edge: c.told, window: c.window, chunk: c.chunk(c.window)})
	return c
}

// Arrived notes that n bytes of file data came off the socket.
func (c *Controller) Arrived(now time.Duration, n int64) {
	if n <= 0 {
		return
	}
	if c.arrived == 0 {
		// The clock of the unasked credit starts here: how long the client
		// took to begin says nothing about its link.
		g := c.open.front()
		g.at, g.arrived, g.next, g.first = now, n, n, n
		c.last = now
	}
	idle := c.wasIdle(now, n)
	c.arrived += n
	c.last = now
	came := c.arrived + max(packet-n, 0)
	for i := range c.open.n {
		g := c.open.at(i)
		if idle {
			c.restart(g, now, came)
		}
		if g.next == 0 {
			g.next, g.waited = came, now-g.at
		}
		if c.arrived <= g.from {
			continue
		}
		if g.first == 0 {
			g.first = came
			c.noteOpened(g, now)
		}
		if c.arrived > g.edge-g.chunk {
			c.grow(g) // a client that sends whole chunks may go no further
		}
	}
	for c.open.n > 0 && c.arrived >= c.open.front().edge {
		c.noteDrained(c.open.front(), now)
		c.grow(c.open.front())
		c.open.pop()
	}
	if c.open.n > 0 {
		c.noteLate(c.open.front(), now)
	}
}

// Due reports whether a grant is worth an ack, stored being the bytes of this
// connection that have left the queue for the store. That is once per quarter
// of a window (a chunk or more, but on the slowest links), counted in bytes
// stored or in bytes by which the edge would move.
func (c *Controller) Due(stored int64) bool {
	w := c.Window()
	every := w / 4
	if f := c.chunk(w); f < every {
		every -= every % f // or whole chunks would be told of too late
	}
	every = max(every, 1)
	return stored-c.stored >= every || stored+w-c.told >= every
}

// Grant returns the window and the chunk to send in an ack (or in ready) whose
// received is the position of the byte after the first stored ones, and takes
// it that they are sent now: the client may from here on send up to stored +
// window. It may be called without Due, for a heartbeat.
func (c *Controller) Grant(now time.Duration, stored int64) (window, chunk int64) {
	if c.rate == 0 && c.arrived > 0 && c.open.n > 0 {
		// Never grant anew without any idea of the link.
		if g := c.open.front(); now-g.at >= sampleFloor {
			c.rate = c.sample(g, now)
		}
	}
	window = c.Window()
	told := stored + window
	if told < c.told {
		// The client may or may not have used what it has just lost: those
		// grants measure nothing any more.
		c.open.dropAbove(told)
	}
	if told > c.told {
		if c.arrived+c.chunk(c.window) > c.told {
			// Out of credit, but for less than a chunk that a client may
			// have left unused: the wait that ends here is not the link's.
			for ; c.open.n > 0; c.open.pop() {
				c.noteDrained(c.open.front(), c.last)
			}
		}
		c.open.push(grant{
			at: now, arrived: c.arrived,
			from: c.edge, edge: told, window: c.window, chunk: c.chunk(window),
			behind: c.arrived-stored > c.window/4,
		})
	}
	c.told, c.window, c.stored = told, window, stored
	c.edge = max(c.edge, told)
	return window, c.chunk(window)
}

// RTT notes a round trip measured in another way: a ping on a silent line, or
// from the answer to the upgrade to the client's first message.
func (c *Controller) RTT(d time.Duration) {
	if d <= 0 {
		return
	}
	if c.least == 0 || d < c.least {
		c.least = d
	}
	if c.rtt == 0 || d < c.rtt {
		c.rtt, c.best = d, c.rate
	}
}

// SetMax notes that the shared memory has room for a window of n bytes, from
// the next grant on. Unlike the needs of the link it has no lower bound: 0
// stops the client. Memory already promised stays promised: Edge less the
// bytes stored.
func (c *Controller) SetMax(n int64) { c.max = min(max(n, 0), c.cfg.MaxWindow) }

// Edge returns the highest position the client may have sent up to, counted
// from the first byte of the connection. It never goes back.
func (c *Controller) Edge() int64 { return max(c.edge, c.cfg.InitialWindow) }

// Window returns the window that Grant would grant.
//
// It starts with what a link of 16 KiB/s drains within the client's timeout,
// and at most InitialWindow. It doubles with each window that drains, as long
// as it has been too small to keep the line busy for two round trips and a
// pause of the store. It never exceeds what the link would drain in time if it
// became eight times slower, but for a floor of two MinChunk.
func (c *Controller) Window() int64 {
	return min(max(min(c.grown, c.safe()), 2*c.cfg.MinChunk), c.max)
}

// Chunk returns the size of message that Grant would ask for.
func (c *Controller) Chunk() int64 { return c.chunk(c.Window()) }

// Rate returns the measured rate of the link in bytes a second, 0 as long as
// it is not known. For display.
func (c *Controller) Rate() int64 { return int64(c.rate) }

// chunk returns the size of message for a window of w bytes: a quarter of it
// at most, so that acks come four to a window, and at most what the link takes
// in half a second. A link that became eight times slower then still finishes
// a message within the five seconds after which a Go client (coder/websocket)
// gives up on a pong that waits behind it. Powers of two change seldom and
// suit the blocks of a store.
func (c *Controller) chunk(w int64) int64 {
	half := int64(c.rate / 2)
	if c.rate == 0 {
		half = 4 * floorRate
	}
	f := min(w/4, half)
	if f < c.cfg.MaxChunk {
		f = max(powerOfTwo(f), c.cfg.MinChunk)
	}
	f = min(f, c.cfg.MaxChunk)
	return max(min(f, w/2), 1)
}

// safe returns the window that survives a collapse of the link: it drains
// eight times slower within seven eighths of the client's timeout, less the
// round trip. The eighth is for what cannot be measured.
func (c *Controller) safe() int64 {
	if c.rate == 0 {
		return c.grown
	}
	t := c.cfg.ClientTimeout
	spend := t - t/8 - min(c.rtt, t/2)
	return int64(min(c.rate*spend.Seconds()/collapse, 1<<62))
}

// needed returns the credit that must still be out when a grant is sent, or
// the line runs dry before the grant has taken effect: two round trips, as the
// rate may double meanwhile, and a pause of the store.
func (c *Controller) needed() float64 {
	if c.rtt == 0 {
		return math.Inf(1)
	}
	return c.rate * (2*c.rtt + storeSlack).Seconds()
}

func powerOfTwo(n int64) int64 {
	if n < 1 {
		return 1
	}
	return 1 << (bits.Len64(uint64(n)) - 1)
}
