package middleware

import "testing"

// Memory that was in use a moment ago is read into next, since the processor
// has it at hand; and only so much of it waits where nothing frees it.
func TestTheBlockGivenBackLastGoesOutFirst(t *testing.T) {
	var s spare
	var given []*block
	for range hotBlocks + 3 {
		b := &block{}
		given = append(given, b)
		s.put(b)
	}
	if len(s.hot) != hotBlocks {
		t.Errorf("%d blocks are kept, expected %d", len(s.hot), hotBlocks)
	}
	for i := hotBlocks - 1; i >= 0; i-- {
		if s.get() != given[i] {
			t.Fatalf("a block went out before number %d, which was given back later", i)
		}
	}
}
