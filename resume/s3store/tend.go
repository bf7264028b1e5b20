package s3store

import "time"

// tend makes sure that somebody looks after the blocks.
func (u *upload) tend() {
	if u.tending || u.dead != nil {
		return
	}
	u.tending = true
	u.share()
	u.retain()
	go u.tendLoop()
}

// share counts the upload among those that share the storage, or no longer. A
// client that is silent may go on at any time.
func (u *upload) share() {
	was := u.shares
	u.shares = u.tending || len(u.claims) > 0
	switch {
	case u.shares && !was:
		u.store.sharing.Add(1)
	case was && !u.shares:
		u.store.sharing.Add(-1)
	}
}

// tendLoop makes durable what has been in memory for SyncInterval, and what
// parts have landed.
func (u *upload) tendLoop() {
	defer u.release()
	for {
		u.mu.Lock()
		if u.dead != nil || len(u.blocks) == 0 && !u.landed() && u.flying == 0 {
			u.tending, u.flush = false, false
			u.share()
			u.unlock()
			return
		}
		landed, left := u.landed(), u.untilDue()
		u.unlock()
		if !landed && left > 0 {
			timer := time.NewTimer(left)
			select {
			case <-u.kick:
			case <-timer.C:
			}
			timer.Stop()
			continue
		}
		u.turn <- struct{}{}
		_ = u.commit(left <= 0) // the error has ended the claims
		u.endTurn()
	}
}

// linger is how long what a connection left in memory waits for more of its
// kind: lanes end together, and a client comes back at once.
const linger = 100 * time.Millisecond

// untilDue returns how long the oldest block may wait still. Those on their way
// do not count.
func (u *upload) untilDue() time.Duration {
	left := time.Hour
	for _, b := range u.blocks {
		if b.going || b.landed {
			continue
		}
		if u.flush {
			return 0
		}
		left = min(left, u.store.opts.SyncInterval-time.Since(b.born))
		if b.claim.err != nil {
			left = min(left, linger-time.Since(b.claim.ended))
		}
	}
	return left
}

// landed reports whether something is in the storage that the record does not
// say yet.
func (u *upload) landed() bool { return u.parts != nil && len(u.parts.landed) > 0 }
