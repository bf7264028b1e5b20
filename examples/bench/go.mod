module github.com/wsingest/wsingest/examples/bench

go 1.26.0

require (
	github.com/coder/websocket v1.8.15
	github.com/tus/tusd/v2 v2.9.1
	github.com/wsingest/wsingest v0.0.0
	go.uber.org/zap v1.28.0
	golang.org/x/exp v0.0.0-20260908205506-85c1c2202aba
	golang.org/x/sys v0.49.0
)

require (
	github.com/cenkalti/backoff/v5 v5.0.3 // indirect
	github.com/tus/lockfile v1.2.0 // indirect
	go.uber.org/multierr v1.11.0 // indirect
	golang.org/x/text v0.43.0 // indirect
)

replace github.com/wsingest/wsingest => ../..
