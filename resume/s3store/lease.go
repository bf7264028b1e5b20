package s3store

import (
	"context"
	"sync"
	"time"

	"github.com/wsingest/wsingest/resume"
)

var _ resume.Leaser = (*Store)(nil)

// leaseFor is how long a node that died holds its uploads up. One that lives
// renews a lease of which half is over.
const leaseFor = 12 * time.Second

// Lease implements [resume.Leaser]. Who finishes an upload has its lease with the
// record that says so, at no cost.
func (s *Store) Lease(ctx context.Context, id resume.ID) (release func(), err error) {
	if err := s.takeUpload(ctx, id); err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.leased[id] = true
	s.mu.Unlock()
	held, stop := context.WithCancel(s.work)
	var renewing sync.WaitGroup
	renewing.Go(func() { s.renew(held, id) })
	return func() {
		stop()
		renewing.Wait()
		s.giveUp(id)
	}, nil
}

func (s *Store) takeUpload(ctx context.Context, id resume.ID) error {
	return s.inTurn(ctx, id, func(u *upload) error {
		switch {
		case u.phase == resume.Receiving:
			return resume.ErrNotComplete
		case u.phase == resume.Delivered:
			return nil
		case u.lease == nil || time.Now().After(u.lease.Until):
		case u.lease.Node != s.node:
			return &resume.LeasedError{Until: u.lease.Until}
		case time.Until(u.lease.Until) > s.leaseFor/2:
			return nil
		}
		return u.takeLease(s.newLease())
	})
}

func (s *Store) newLease() *lease {
	return &lease{Node: s.node, Until: time.Now().Add(s.leaseFor).UTC()}
}

func (u *upload) takeLease(l *lease) error {
	before := u.lease
	u.lease = l
	err := u.record(u.objects, nil)
	if err != nil {
		u.lease = before
	}
	return err
}

// renew keeps a lease. One that is lost costs a second delivery, no more.
func (s *Store) renew(ctx context.Context, id resume.ID) {
	ticker := time.NewTicker(s.leaseFor / 4)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			if s.takeUpload(ctx, id) != nil {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// giveUp ends the lease of what was not delivered.
func (s *Store) giveUp(id resume.ID) {
	s.mu.Lock()
	held := s.leased[id] && !s.closed
	delete(s.leased, id)
	s.mu.Unlock()
	if !held {
		return // it was delivered
	}
	_ = s.inTurn(s.work, id, func(u *upload) error {
		if u.phase != resume.Complete || u.lease == nil || u.lease.Node != s.node {
			return nil
		}
		return u.takeLease(nil)
	})
}
