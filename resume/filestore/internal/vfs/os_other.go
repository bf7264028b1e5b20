//go:build !linux

package vfs

import "os"

// syncData is a full fsync: on macOS package os asks for F_FULLFSYNC, without
// which the drive may still hold the bytes in its cache.
func syncData(f *os.File) error { return f.Sync() }

// reserve sets the size alone. A disk that fills up meanwhile is found by the
// write that needs the block.
func reserve(f *os.File, size int64) (aside bool, err error) { return false, grow(f, size) }

func free(string) (bytes int64, known bool) { return 0, false }

func renameExclusive(oldname, newname string) error { return renameIfFree(oldname, newname) }
