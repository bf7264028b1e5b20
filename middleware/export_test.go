package middleware

import "time"

// AllowFastKeepalive lets tests of keepalive run in seconds.
func AllowFastKeepalive() { minInterval = 10 * time.Millisecond }

// AskForSpaceOften lets tests of a full disk not wait for seconds.
func AskForSpaceOften() { spaceRetry = 20 * time.Millisecond }

// Allotted returns how much of the memory budget connections hold.
func (in *Ingest) Allotted() int64 {
	in.budget.mu.Lock()
	defer in.budget.mu.Unlock()
	return in.budget.allotted
}

// Waiting returns how many things the workers of all connections have not
// begun with.
func (in *Ingest) Waiting() (n int) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for s := range in.sessions {
		n += s.queue.waiting()
	}
	return n
}

// SignWebhook is Webhook.sign.
var SignWebhook = (*Webhook).sign
