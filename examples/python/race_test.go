//go:build race

package python

// raced: everything takes up to ten times as long, and of other processes the
// race detector sees nothing. What only repeats itself then is left out.
const raced = true
