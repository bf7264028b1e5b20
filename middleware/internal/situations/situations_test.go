package situations

import (
	"context"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/wsingest/wsingest/middleware"
)

// The clients, which are the columns of the table. The first two are as little
// code as it takes; those behind them are what people will use.
const (
	pythonLoop = "Python, loop"
	pythonFull = "Python, full"
	plainPy    = "plain.py"
	wsingestPy = "wsingest.py"
	goFull     = "resume/client"
	goLoop     = "coder/websocket, loop"
)

var uploaders = map[string]uploader{
	pythonLoop: uploadWithPythonLoop,
	pythonFull: uploadWithPythonFull,
	plainPy:    uploadWithPlainPy,
	wsingestPy: uploadWithWsingestPy,
	goFull:     uploadWithClient,
	goLoop:     uploadWithLoop,
}

var columns = []string{pythonLoop, pythonFull, plainPy, wsingestPy, goFull, goLoop}

// situation is a row of the table.
type situation struct {
	name      string
	load      load
	disk      stalls
	keepalive middleware.Keepalive
	link      *link // nil: straight to the server
	naive     naiveOptions
	serverLog bool // the server logs at DEBUG into a pipe that nobody reads
	clientLog bool // the client does
	// mustNotice: our server must notice within its timeout that the line is
	// dead, and the naive one does not.
	mustNotice bool
	limit      time.Duration // without a write to the disk, after which a client counts as hung; 0: 30 s
	want       map[string]want
}

// want is what must become of an upload with one client: against the naive
// server, and against ours.
type want struct{ naive, ours string }

// tight is the rhythm the servers announce; the shortest that is allowed.
var tight = middleware.Keepalive{Interval: time.Second, Timeout: 3 * time.Second}

// usual is the rhythm by default.
var usual = middleware.Keepalive{Interval: 15 * time.Second, Timeout: time.Minute}

// timeout is that of the clients' pings, and their interval.
const timeout = 500 * time.Millisecond

// patience is the same as a client has it against one of the servers. Under the
// race detector a pong may take longer: ours has twice the time.
func patience(server string) time.Duration {
	if raced && server == "wsingest" {
		return 2 * timeout
	}
	return timeout
}

var situations = []situation{{
	// The naive handler does not read while it waits for the disk, and a pong
	// is only ever sent by who reads.
	name:      "1 disk blocked for longer than the ping timeout",
	load:      load{size: 1536 << 10, chunk: 32 << 10, ping: timeout, rate: 512 << 10},
	disk:      stalls{first: 1500 * time.Millisecond, stall: 3 * time.Second, period: 6 * time.Second},
	keepalive: tight,
	want: map[string]want{
		pythonLoop: {"died 1011", "survived"},
		pythonFull: {"died 1011", "survived"},
		plainPy:    {"died 1011", "survived"},
		wsingestPy: {"died silence", "survived"},
		goFull:     {"died silence", "survived"},
	},
}, {
	// The client's loop is busy and answers no pings, but it goes on sending.
	name:      "2 client busy, server insists on pongs",
	load:      load{size: 192 << 10, chunk: 64 << 10, ping: 20 * time.Second, burn: 2 * time.Second},
	naive:     naiveOptions{pingEvery: 500 * time.Millisecond, pongIn: 800 * time.Millisecond},
	keepalive: usual,
	want: map[string]want{
		pythonLoop: {"died cut", "survived"},
		pythonFull: {"died cut", "survived"},
		plainPy:    {"died cut", "survived"},
		wsingestPy: {"died cut", "survived"},
		goFull:     {"survived", "survived"},
	},
}, {
	// 384 KiB at once, on a line that carries 32 KiB within the ping timeout.
	// A client without a window cannot be saved by any server.
	name:      "3 slow line",
	load:      load{size: 384 << 10, chunk: 384 << 10, ping: timeout},
	link:      &link{rate: 64 << 10},
	naive:     naiveOptions{chunk: 384 << 10},
	keepalive: tight,
	want: map[string]want{
		pythonLoop: {"died 1011", "died 1011"},
		pythonFull: {"died 1011", "survived"},
		plainPy:    {"died 1011", "died 1011"},
		wsingestPy: {"died silence", "survived"},
		goFull:     {"died silence", "survived"},
	},
}, {
	// It saves itself if it can resume, and sends so little at a time that
	// whole messages arrive before its ping timeout. What its first connection
	// left on the line goes on to arrive: the naive server takes it in beside the
	// second.
	name:      "3 slow line, a small message at a time",
	load:      load{size: 192 << 10, chunk: 8 << 10, ping: timeout, tries: 5},
	link:      &link{rate: 64 << 10},
	keepalive: tight,
	want: map[string]want{
		pythonLoop: {"died 1011", "resumed 1011"},
		plainPy:    {"corrupt 1011", "resumed 1011"},
	},
}, {
	// A client without a window fills its kernel's buffers, and then even its
	// ping waits, before its timeout has begun to run. The hole opens behind what
	// a client may send before it has heard of the server at all, and the size is
	// several times what the sockets up to there hold.
	name:       "4 black hole",
	load:       load{size: 24 << 20, chunk: 64 << 10, ping: timeout, tries: 5},
	link:       &link{holeAt: 512 << 10},
	keepalive:  tight,
	mustNotice: true,
	limit:      12 * time.Second,
	want: map[string]want{
		pythonLoop: {"hung", "hung"},
		pythonFull: {"resumed 1011", "resumed 1011"},
		plainPy:    {"resumed silence", "resumed silence"},
		wsingestPy: {"resumed silence", "resumed silence"},
		goFull:     {"resumed silence", "resumed silence"},
	},
}, {
	// Thirty-two unread messages, and the library reads no more pongs.
	name:      "5 acks that nobody reads",
	load:      load{size: 1200 << 10, chunk: 4 << 10, ping: timeout, rate: 400 << 10},
	naive:     naiveOptions{acks: true},
	keepalive: tight,
	want: map[string]want{
		pythonLoop: {"died 1011", "survived"},
		pythonFull: {"survived", "survived"},
		plainPy:    {"died 1011", "survived"},
		wsingestPy: {"survived", "survived"},
		goFull:     {"survived", "survived"},
	},
}, {
	// The library gives a pong five seconds to get past a frame of ten. Our
	// server does not ping a line that is not silent, and our client answers
	// pings without the library.
	name:      "6 frame of 1 MiB, ten seconds long, and a ping",
	load:      load{size: 1 << 20, chunk: 1 << 20, ping: 20 * time.Second, line: 96 << 10},
	link:      &link{rate: 100 << 10},
	naive:     naiveOptions{pingEvery: 500 * time.Millisecond, pongIn: time.Minute, chunk: 1 << 20},
	keepalive: usual,
	want: map[string]want{
		pythonLoop: {"survived", "survived"},
		pythonFull: {"survived", "survived"},
		plainPy:    {"survived", "survived"},
		wsingestPy: {"survived", "survived"},
		goFull:     {"survived", "survived"},
		goLoop:     {"died pong", "survived"},
	},
}, {
	// The naive server writes what it reads, and resumes where the file ends.
	// The loop has no way to resume there at all.
	name:      "7 foreign bytes in the middle of a frame",
	load:      load{size: 8 << 20, chunk: 64 << 10, ping: timeout, tries: 5},
	link:      &link{foreignAt: 3<<20 + 12_345},
	keepalive: tight,
	want: map[string]want{
		pythonLoop: {"died cut", "resumed cut"},
		pythonFull: {"corrupt cut", "resumed cut"},
		plainPy:    {"corrupt cut", "resumed cut"},
		wsingestPy: {"corrupt cut", "resumed cut"},
		goFull:     {"corrupt cut", "resumed cut"},
	},
}, {
	name:      "8 server's DEBUG log blocked",
	load:      load{size: 1920 << 10, chunk: 32 << 10, ping: timeout, rate: 640 << 10},
	serverLog: true,
	keepalive: tight,
	want: map[string]want{
		pythonLoop: {"died 1011", "survived"},
		pythonFull: {"died 1011", "survived"},
		plainPy:    {"died 1011", "survived"},
		wsingestPy: {"died silence", "survived"},
		goFull:     {"died silence", "survived"},
	},
}, {
	// What blocks in the client no server can mend. The log of 768 messages is
	// more than the pipe takes.
	name:      "8 client's own DEBUG log blocked",
	load:      load{size: 1536 << 10, chunk: 2 << 10, ping: timeout},
	clientLog: true,
	keepalive: tight,
	limit:     12 * time.Second,
	want: map[string]want{
		pythonLoop: {"hung", "hung"},
		pythonFull: {"hung", "hung"},
		plainPy:    {"survived", "survived"},
		wsingestPy: {"survived", "survived"},
		goFull:     {"survived", "survived"},
	},
}}

// atOnce bounds the uploads that run side by side: they wait for most of their
// time, but a ping that is half a second late counts.
const atOnce = 10

func TestTheEightSituations(t *testing.T) {
	library := pythonLibrary(t)
	tab := &table{columns: columns, cells: map[[3]string]outcome{}}
	var mu sync.Mutex
	var wg sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for i := range situations {
		s := &situations[i]
		tab.rows = append(tab.rows, s.name)
		for client, want := range s.want {
			for _, server := range servers {
				if !tried(server, client) {
					continue
				}
				wg.Go(func() {
					slots <- struct{}{}
					defer func() { <-slots }()
					t.Run(s.name+"/"+server+"/"+client, func(t *testing.T) {
						o := s.try(t, server, client)
						want.check(t, server, o)
						mu.Lock()
						defer mu.Unlock()
						tab.cells[[3]string{s.name, server, client}] = o
					})
				})
			}
		}
	}
	wg.Wait()
	t.Logf("Python is %s. Ping interval and timeout of the clients: %v.", library, patience("wsingest"))
	tab.print(t)
}

// tried says who is tried against whom. Under the race detector it is not who has
// no Go in it, and of the clients that are the same to the server one.
func tried(server, client string) bool {
	if !raced || client == goFull || client == goLoop {
		return true
	}
	return server == "wsingest" && (client == pythonLoop || client == pythonFull)
}

func (w want) check(t *testing.T, server string, o outcome) {
	want := w.ours
	if server == "naive" {
		want = w.naive
	}
	if o.String() != want {
		t.Errorf("the upload %s, expected %q: %s", o.cell(), want, o.detail)
	}
}

// server is one of the two.
type server interface {
	address() string
	intact() error
	// noticed says whether, and if so when, a connection was given up that had
	// fallen silent.
	noticed() (time.Time, bool)
}

// try runs one upload.
func (s *situation) try(t *testing.T, name, client string) outcome {
	disk := &disk{stalls: s.disk}
	log := zap.NewNop()
	if s.serverLog {
		log = debugLogger(blockedPipe(t, true))
	}
	var srv server
	l := s.load
	if l.ping == timeout {
		l.ping = patience(name)
	}
	if name == "naive" {
		o := s.naive
		o.keepalive = s.keepalive
		srv = newNaive(t, o, l.size, disk, log)
		if client == pythonLoop {
			l.tries = 1 // there is nothing to resume
		}
	} else {
		srv = newOurs(t, s.keepalive, l.size, disk, log)
	}
	if client == plainPy || client == wsingestPy {
		l.file = theContent.file(t, l.size)
	}
	address := srv.address()
	var line *link
	if s.link != nil {
		line = &link{rate: s.link.rate, holeAt: s.link.holeAt, foreignAt: s.link.foreignAt}
		address = line.connect(t, address)
	}
	if s.clientLog {
		// Python's has room at first, so that what it stops is a transfer.
		l.log = blockedPipe(t, client == goFull)
	}
	o := s.upload(t, client, address, l, srv, disk)
	o.stalls = disk.count.Load()
	if s.mustNotice {
		o.noticed = s.notice(t, name, srv, <-line.hole)
	}
	return o
}

func (s *situation) upload(t *testing.T, client, address string, l load, srv server, disk *disk) outcome {
	limit := s.limit
	if limit == 0 {
		limit = 30 * time.Second
	}
	ctx, cancel := context.WithTimeout(t.Context(), longest)
	defer cancel()
	defer disk.watch(limit, cancel)()
	l.tries = max(l.tries, 1)
	r, err := uploaders[client](ctx, address, l)
	if err != nil {
		t.Fatal(err)
	}
	return judge(r, srv.intact)
}

// longest bounds an upload that goes on and on.
const longest = 5 * time.Minute

// notice returns how long the server took to give up on the connection that
// fell silent when the hole opened.
func (s *situation) notice(t *testing.T, name string, srv server, hole time.Time) time.Duration {
	deadline := hole.Add(s.keepalive.Timeout)
	if name == "naive" {
		time.Sleep(time.Until(deadline.Add(time.Second)))
		if _, ok := srv.noticed(); ok {
			t.Error("the naive server noticed a line that fell silent: the control does not bite")
		}
		return 0
	}
	at, ok := srv.noticed()
	for end := deadline.Add(5 * time.Second); !ok && time.Now().Before(end); at, ok = srv.noticed() {
		time.Sleep(20 * time.Millisecond)
	}
	switch {
	case !ok:
		t.Errorf("the server did not notice within %v of its timeout that the line is dead", 5*time.Second)
		return 0
	case at.Before(deadline.Add(-50 * time.Millisecond)):
		t.Errorf("the connection was cut %v after its last byte, before its timeout of %v", at.Sub(hole), s.keepalive.Timeout)
	}
	return at.Sub(hole)
}

// blockedPipe returns a pipe that nobody reads; a full one takes not a byte
// any more.
func blockedPipe(t *testing.T, full bool) *os.File {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	if full {
		w.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
		for junk := make([]byte, 4<<10); err == nil; {
			_, err = w.Write(junk)
		}
		w.SetWriteDeadline(time.Time{})
	}
	return w
}
