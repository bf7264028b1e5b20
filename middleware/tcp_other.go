//go:build !linux

package middleware

import (
	"syscall"
	"time"
)

// setUserTimeout does nothing: TCP_USER_TIMEOUT is Linux's alone. Our own
// half-open deadline does not need it.
func setUserTimeout(syscall.RawConn, time.Duration) {}
