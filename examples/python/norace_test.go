//go:build !race

package python

const raced = false
