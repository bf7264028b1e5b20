package main

import (
	"os"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/term"

	"github.com/wsingest/wsingest/middleware"
)

// newLogger writes to stderr: for people on a terminal, else one JSON object a
// line.
func newLogger(debug bool) *zap.Logger {
	level := zap.InfoLevel
	if debug {
		level = zap.DebugLevel
	}
	encoder := zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig())
	if term.IsTerminal(int(os.Stderr.Fd())) {
		c := zap.NewDevelopmentEncoderConfig()
		c.EncodeLevel = zapcore.CapitalColorLevelEncoder
		c.EncodeTime = zapcore.TimeEncoderOfLayout("15:04:05.000")
		encoder = zapcore.NewConsoleEncoder(c)
	}
	return zap.New(zapcore.NewCore(encoder, zapcore.Lock(os.Stderr), level))
}

// observe logs what an app would count.
func observe(log *zap.Logger) func(middleware.Event) {
	return func(e middleware.Event) {
		if ce := log.Check(zap.DebugLevel, "event"); ce != nil {
			ce.Write(zap.String("kind", string(e.Kind)), zap.String("upload", string(e.ID)), zap.String("code", string(e.Code)),
				zap.Int64("bytes", e.Bytes), zap.Duration("after", e.Duration))
		}
	}
}
