package middleware

import "time"

// AllowFastKeepalive lets tests of keepalive run in seconds.
func AllowFastKeepalive() { minInterval = 10 * time.Millisecond }

// Leased returns how much of the memory budget connections hold.
func (in *Ingest) Leased() int64 {
	in.budget.mu.Lock()
	defer in.budget.mu.Unlock()
	return in.budget.leased
}
