package resume

import (
	"context"
	"fmt"
	"time"
)

// Leaser is a [Store] whose uploads several processes have. A lease keeps two of
// them from delivering one at the same time; it takes no right from anybody, so
// an upload of a process that died is delivered when its lease is over.
type Leaser interface {
	Store
	// Lease makes this store the one that delivers a complete upload, until it is
	// settled or release is called, which may be done in any case. While another
	// store has it the error is a *LeasedError.
	Lease(ctx context.Context, id ID) (release func(), err error)
}

// LeasedError: another process delivers the upload, at least until then.
type LeasedError struct{ Until time.Time }

func (e *LeasedError) Error() string {
	return fmt.Sprintf("another node delivers it, until %s at least", e.Until.UTC().Format(time.RFC3339))
}
