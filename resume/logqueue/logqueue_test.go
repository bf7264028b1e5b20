package logqueue

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// gate is a log's destination that takes nothing until it is opened.
type gate struct {
	open chan struct{}
	mu   sync.Mutex
	buf  bytes.Buffer
}

func (g *gate) Write(p []byte) (int, error) {
	<-g.open
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.buf.Write(p)
}

func (g *gate) Sync() error { return nil }

func (g *gate) lines() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return strings.Split(strings.TrimSpace(g.buf.String()), "\n")
}

func newGate() (*gate, *zap.Logger) {
	g := &gate{open: make(chan struct{})}
	return g, zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), g, zap.DebugLevel))
}

// A destination that takes nothing holds up nobody who logs, and not the end
// either; what did not fit is counted, and what did is written in order.
func TestABlockedLogBlocksNobody(t *testing.T) {
	g, log := newGate()
	log, q := New(log)
	const lines = 3 * maxLines
	for i := range lines {
		log.Debug("line", zap.Int("i", i))
	}
	began := time.Now()
	q.Flush()
	if waited := time.Since(began); waited < flushBound {
		t.Errorf("Flush gave up after %v, expected %v", waited, flushBound)
	}
	close(g.open)
	q.Flush()
	got := g.lines()
	if last := got[len(got)-1]; !strings.Contains(last, "lines were dropped") || !strings.Contains(last, `"lines":`) {
		t.Errorf("the last line is %s, expected one that says how many were dropped", last)
	}
	if len(got) < maxLines || len(got) > 2*maxLines+2 {
		t.Errorf("%d lines were written, expected between %d and twice as many", len(got), maxLines)
	}
	if !strings.Contains(got[0], `"i":0`) || !strings.Contains(got[1], `"i":1`) {
		t.Errorf("the first lines are %q, expected them in order", got[:2])
	}
}

// Flush gives up when its timer says so, also where that is before its time by the
// clock: nobody would wake it again, and it would keep a server from ending. That
// would be seen here as a deadlock.
func TestFlushGoesByItsTimer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, log := newGate()
		log, q := New(log)
		q.after = func(d time.Duration, f func()) *time.Timer { return time.AfterFunc(d-time.Nanosecond, f) }
		log.Info("nobody takes this")
		began := time.Now()
		q.Flush()
		if waited := time.Since(began); waited != flushBound-time.Nanosecond {
			t.Errorf("Flush gave up after %v, its timer went off after %v", waited, flushBound-time.Nanosecond)
		}
		close(g.open)
		q.Flush()
		if got := g.lines(); len(got) != 1 || !strings.Contains(got[0], "nobody takes this") {
			t.Errorf("logged %q, expected the line that waited", got)
		}
	})
}

// Fields of With and the inner level are kept.
func TestTheInnerLogDecides(t *testing.T) {
	g, log := newGate()
	close(g.open)
	log, q := New(log.WithOptions(zap.IncreaseLevel(zap.WarnLevel)))
	log = log.With(zap.String("upload", "x"))
	log.Info("not wanted")
	log.Warn("wanted")
	q.Flush()
	if got := g.lines(); len(got) != 1 || !strings.Contains(got[0], `"upload":"x"`) || !strings.Contains(got[0], "wanted") {
		t.Errorf("logged %q, expected the warning with its upload", got)
	}
}
