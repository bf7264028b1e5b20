//go:build !race

package uppy

const raced = false
