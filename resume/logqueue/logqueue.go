// Package logqueue keeps a log that cannot be written from stopping a transfer.
//
// A pipe that nobody reads blocks whoever writes to it, and with a connection's
// goroutines would block its keepalive. So lines go through a queue that never
// blocks. When it is full, lines are dropped, and their number is logged once
// there is room.
package logqueue

import (
	"sync"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

const (
	// maxLines bounds the queue; about 1 MiB of lines.
	maxLines = 4096
	// flushBound is how long the lines that are left may keep the end of a
	// server or client waiting.
	flushBound = time.Second
)

// Queue holds the lines that are not written yet. A goroutine writes them, and
// ends when there are none.
type Queue struct {
	mu      sync.Mutex
	lines   []line
	dropped int
	running bool
	done    sync.Cond

	after func(time.Duration, func()) *time.Timer // time.AfterFunc; a test has one that is early
}

type line struct {
	core   zapcore.Core
	entry  zapcore.Entry
	fields []zapcore.Field
}

// New returns log with a queue in front of it.
func New(log *zap.Logger) (*zap.Logger, *Queue) {
	q := &Queue{after: time.AfterFunc}
	q.done.L = &q.mu
	return log.WithOptions(zap.WrapCore(func(inner zapcore.Core) zapcore.Core {
		return &core{inner, q}
	})), q
}

// core is a zapcore.Core that writes through a queue.
type core struct {
	zapcore.Core
	q *Queue
}

func (c *core) With(fields []zapcore.Field) zapcore.Core {
	return &core{c.Core.With(fields), c.q}
}

func (c *core) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return ce.AddCore(e, c)
	}
	return ce
}

func (c *core) Write(e zapcore.Entry, fields []zapcore.Field) error {
	q := c.q
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.lines) >= maxLines {
		q.dropped++
		return nil
	}
	q.lines = append(q.lines, line{c.Core, e, append([]zapcore.Field(nil), fields...)})
	if !q.running {
		q.running = true
		go q.run()
	}
	return nil
}

func (q *Queue) run() {
	for {
		q.mu.Lock()
		lines, dropped := q.lines, q.dropped
		q.lines, q.dropped = nil, 0
		if len(lines) == 0 && dropped == 0 {
			q.running = false
			q.done.Broadcast()
			q.mu.Unlock()
			return
		}
		q.mu.Unlock()
		for _, l := range lines {
			l.write()
		}
		if dropped > 0 {
			last := lines[len(lines)-1]
			last.entry.Level, last.entry.Message = zapcore.WarnLevel, "the log could not keep up: lines were dropped"
			last.fields = []zapcore.Field{zap.Int("lines", dropped)}
			last.write()
		}
	}
}

// write asks the inner core again, which may be several with levels of their
// own.
func (l line) write() {
	if ce := l.core.Check(l.entry, nil); ce != nil {
		ce.Write(l.fields...)
	}
}

// Flush waits until the queue is written, for a second at most.
func (q *Queue) Flush() {
	// What the timer says decides, and not a second look at the clock: it could be
	// early by that, and nobody would wake this again.
	late := false
	timer := q.after(flushBound, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		late = true
		q.done.Broadcast()
	})
	defer timer.Stop()
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.running && !late {
		q.done.Wait()
	}
}
