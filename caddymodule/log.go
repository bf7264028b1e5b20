package caddymodule

import (
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// liveLog is where an engine and a store log to. They outlive the config that
// made them, and its log files are closed with it: so every line goes to the
// logger of a handler that is live, or to Caddy's own where none is left.
type liveLog struct{ to atomic.Pointer[zap.Logger] }

// set has lines go to another logger; nil: Caddy's own.
func (l *liveLog) set(to *zap.Logger) { l.to.Store(to) }

func (l *liveLog) now() *zap.Logger {
	if to := l.to.Load(); to != nil {
		return to
	}
	return caddy.Log().Named(string((*Handler)(nil).CaddyModule().ID))
}

// logger returns a logger that follows set, also where it was given fields or
// a name.
func (l *liveLog) logger() *zap.Logger { return zap.New(&liveCore{live: l}) }

type liveCore struct {
	live   *liveLog
	fields []zapcore.Field
}

func (c *liveCore) Enabled(level zapcore.Level) bool { return c.live.now().Core().Enabled(level) }

func (c *liveCore) With(fields []zapcore.Field) zapcore.Core {
	all := make([]zapcore.Field, 0, len(c.fields)+len(fields))
	return &liveCore{c.live, append(append(all, c.fields...), fields...)}
}

func (c *liveCore) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return ce.AddCore(e, c)
	}
	return ce
}

func (c *liveCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	to := c.live.now()
	e.LoggerName = to.Name()
	if ce := to.Core().Check(e, nil); ce != nil {
		ce.Write(append(append([]zapcore.Field(nil), c.fields...), fields...)...)
	}
	return nil
}

func (c *liveCore) Sync() error { return c.live.now().Core().Sync() }
