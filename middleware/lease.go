package middleware

import (
	"context"
	"errors"
	"time"

	"github.com/wsingest/wsingest/resume"
)

// look is how often a client that waits for another process's delivery looks
// whether that is over.
const look = time.Second

// lease keeps other processes from delivering an upload at the same time, if the
// store is one that several have.
func (in *Ingest) lease(id resume.ID) (release func(), err error) {
	if l, ok := in.store.(resume.Leaser); ok {
		return l.Lease(in.work, id)
	}
	return func() {}, nil
}

// waitForLease is lease for one who waits until others are done, as long as
// there is ctx.
func (in *Ingest) waitForLease(ctx context.Context, id resume.ID) (release func(), err error) {
	for {
		release, err := in.lease(id)
		var others *resume.LeasedError
		if !errors.As(err, &others) {
			return release, err
		}
		timer := time.NewTimer(look)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, context.Canceled
		}
	}
}
