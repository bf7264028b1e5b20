package middleware

import (
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/zap"

	"github.com/wsingest/wsingest/middleware/internal/bandwidth"
	"github.com/wsingest/wsingest/middleware/internal/flow"
	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/resume"
)

// session is one connection from upgrade to goodbye.
//
// Its reader (the handler's goroutine) only reads: file data goes into blocks,
// and with the messages into a queue. Its worker takes them from there and is
// the only one that writes to the store. Everything that goes out goes through
// out. Worker and out have goroutines only while they have something to do, so
// that an idle connection costs one.
type session struct {
	in      *Ingest
	req     *http.Request
	next    http.Handler
	host    string // remote host, without the port
	owner   string // who connects, where there is a limit for each
	address string // where from, likewise
	log     *zap.Logger

	handler int // which call of Wrap next was given to

	full  bool // speaks the full protocol
	beats bool // wants acks and heartbeats: full, or plain with acks=1
	plain *protocol.Plain

	ws        *websocket.Conn
	wire      *wire
	out       *out
	queue     queue
	allotment *allotment
	born      time.Duration

	over atomic.Bool   // the last word is spoken: what still comes in is dropped
	stop chan struct{} // closed with over
	gone chan struct{} // closed when the reader has ended

	share    *bandwidth.Share // of the bandwidth; nil: there is no limit
	afforded chan struct{}    // a plain client's reader may go on

	rd     inflow        // the reader's own
	pinged atomic.Int64  // when the client pinged last, by the clock; 0: never
	edge   atomic.Int64  // how many bytes the client may have sent in all on this connection
	cursor atomic.Int64  // where the upload opened last begins on this connection; -1 once the reader knows
	slots  chan struct{} // bounds how many finished uploads are in the works, or asked for

	known     resume.ID // the upload that bytes went to last; the worker's own
	permitted permit    // what the ticket of the upload opened last allows; the worker's own

	mu              sync.Mutex
	up              *upload // the upload that bytes go to now; nil: none
	completing      map[*completion]struct{}
	idleSince       time.Duration // since when neither of the two is there; 0: one is
	passive         bool          // the upload opened last was complete already
	flow            *flow.Controller
	timed           bool           // flow knows the client's ping timeout
	arrived         int64          // bytes of file data off the socket
	active          time.Duration  // when the last of them came
	step            step           // of the message under way
	stored          int64          // bytes that left the queue
	told            int64          // of which the client was told
	late            bool           // an ack is due soon, if none goes out before
	resting         bool           // the client has sent nothing for an interval
	forceAck        bool           // the heartbeat is due
	waitingForSpace bool           // the store has no room for what came in
	paid            int64          // bytes that share has allowed, of this connection
	short           bool           // and not as many as it wants
	works           sync.WaitGroup // completions
}

// maxFinishing is how many finished uploads of one connection are verified and
// delivered side by side: many small files share their trips to the disk.
const maxFinishing = 64

func newSession(in *Ingest, r *http.Request, next http.Handler, full bool) *session {
	s := &session{
		in: in, req: r, next: next, host: remoteHost(r),
		log:        in.log.With(zap.String("remote", r.RemoteAddr)),
		full:       full,
		beats:      full,
		born:       in.clock.now(),
		stop:       make(chan struct{}),
		gone:       make(chan struct{}),
		slots:      make(chan struct{}, maxFinishing),
		completing: make(map[*completion]struct{}),
		idleSince:  in.clock.now(),
	}
	if in.opts.limitsOwners() {
		s.owner = in.opts.Owner(r)
	}
	if in.opts.MaxConnectionsPerAddress > 0 {
		s.address = network(in.opts.Address(r))
	}
	s.queue.init(s.handle)
	s.edge.Store(protocol.InitialWindow)
	s.cursor.Store(-1)
	return s
}

// parsePlain reads what a plain client says in its URL.
func (s *session) parsePlain() (err error) {
	if !s.full {
		s.plain, err = protocol.ParsePlain(s.req.URL)
		s.beats = err == nil && s.plain.Acks
	}
	return err
}

func (s *session) age() time.Duration { return s.in.clock.now() - s.born }

// run is the connection's life. It returns when nothing of it runs any more:
// deliveries included, since they carry the request, which is the server's
// again afterwards.
func (s *session) run(ws *websocket.Conn, wire *wire) {
	s.mu.Lock() // drain and cut may come as soon as the session is entered
	s.ws, s.wire = ws, wire
	s.out = newOut(ws, wire, s.in.clock, s.progress)
	s.flow = flow.New(flow.Config{InitialWindow: protocol.InitialWindow, MaxWindow: maxAllotment})
	max := int64(plainAllotment)
	if s.full {
		max = maxAllotment
	}
	s.allotment = s.in.budget.allotment(max)
	s.joinBandwidth()
	s.mu.Unlock()

	s.in.opts.Observer(Event{Kind: Connected, Plain: !s.full})
	if s.plain != nil {
		s.rd.opened, s.rd.eager = true, !s.plain.OffsetResume
		s.queue.push(item{order: orderOpenPlain})
	}
	if s.in.sendsAway(s) {
		s.drain()
	}
	pulse := s.startPulse()
	err := s.read()
	pulse.stop()
	s.hungUp(err)
}

// hungUp ends the session after the reader has: what was read is stored, then
// everything is given back.
func (s *session) hungUp(err error) {
	defer s.works.Wait() // also when a hook panics
	close(s.gone)
	s.dropUnfinished()
	status := websocket.CloseStatus(err)
	if s.plain != nil && s.plain.FinishOnClose && status == websocket.StatusNormalClosure {
		s.queue.push(item{order: orderFinish})
	}
	s.queue.wait()
	if status == -1 && !s.over.Load() {
		s.cut()
	}
	s.endUpload()
	s.over.Store(true)
	s.out.close(nil, int(websocket.StatusNormalClosure), "")
	<-s.out.closed
	s.leaveBandwidth()
	s.allotment.close()
	s.log.Debug("connection ended", zap.Error(err), zap.Duration("age", s.age()))
	s.in.opts.Observer(Event{Kind: Disconnected, Plain: !s.full, Bytes: s.stored, Duration: s.age()})
}

// fail tells the client e. If e ends the connection, this is the last word,
// and what still comes in is dropped. Any goroutine may call it.
func (s *session) fail(e *protocol.Error) {
	s.in.opts.Observer(Event{Kind: Failed, ID: resume.ID(e.ID), Plain: !s.full, Code: e.Code})
	s.log.Info("telling the client an error", zap.String("upload", e.ID), zap.String("code", string(e.Code)), zap.String("detail", e.Detail))
	if s.full && !e.EndsConnection() {
		s.out.send(e)
		return
	}
	s.lastWord(e, e.Code.CloseCode(), string(e.Code))
}

// lastWord sends m, if any, and closes. The reader goes on to read, and to
// drop, until the peer has closed too: closing a socket with bytes unread
// would reset the connection, and the message could be lost.
func (s *session) lastWord(m protocol.Message, code int, reason string) {
	if !s.over.Swap(true) {
		close(s.stop)
		s.out.close(m, code, reason)
	}
}

// drain has the session end in good order once what the reader has passed on
// is stored.
func (s *session) drain() {
	s.mu.Lock()
	running := s.out != nil // else run will see that the engine drains
	s.mu.Unlock()
	if running {
		s.queue.push(item{order: orderDrain})
	}
}

// cut ends the connection at once. Its uploads stay.
func (s *session) cut() {
	s.mu.Lock()
	wire := s.wire
	s.mu.Unlock()
	if wire != nil {
		wire.Close()
	}
}

// sendsAway reports whether s was told to drain before it could hear it.
func (in *Ingest) sendsAway(s *session) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.draining || in.retired && s.full
}

// measured takes in a round trip, seen by a ping.
func (s *session) measured(rtt time.Duration) {
	s.mu.Lock()
	s.flow.RTT(rtt)
	s.mu.Unlock()
}
