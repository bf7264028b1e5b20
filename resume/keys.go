package resume

import "context"

// KeyPublisher is a [Store] that can give a complete upload its final key, as a
// [Publisher] gives a final name: where files are objects in a bucket.
type KeyPublisher interface {
	Store
	// PublishKey makes the complete upload id appear under key, whole or not at
	// all, durably, and returns the key it got, which is another one if that is
	// taken and conflict is ConflictRename. The upload stays in phase Complete
	// until Settle; until then calling PublishKey again, also after a crash and
	// from another process, finds what the first call did and returns the same.
	//
	// A key has elements with slashes between them, none of which is empty, "."
	// or "..". The store's own keys are refused.
	PublishKey(ctx context.Context, id ID, key string, conflict Conflict) (final string, err error)
}
