//go:build !race

package situations

const raced = false
