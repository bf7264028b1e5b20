package middleware_test

import (
	"context"

	"github.com/wsingest/wsingest/resume"
)

// gateStore is a store whose writes wait for a gate to be opened: a disk that
// hangs.
type gateStore struct {
	resume.Store
	gate chan struct{}
}

func (s *gateStore) Open(ctx context.Context, o resume.OpenOptions) (resume.Claim, error) {
	c, err := s.Store.Open(ctx, o)
	if err != nil {
		return nil, err
	}
	return &gateClaim{c, s.gate}, nil
}

type gateClaim struct {
	resume.Claim
	gate chan struct{}
}

func (c *gateClaim) Write(p []byte) (int, error) {
	<-c.gate
	return c.Claim.Write(p)
}
