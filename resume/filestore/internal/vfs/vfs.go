// Package vfs is the little of a file system that filestore needs, so that
// tests can put one in its place that forgets what was not synced.
//
// Nothing is durable before it was synced: bytes and sizes by [File.Sync],
// names by [FS.SyncDir] of their directory.
package vfs

import (
	"errors"
	"io"
	"io/fs"
)

// ErrLocked is what [FS.Lock] answers when somebody else has the lock.
var ErrLocked = errors.New("locked by another holder")

// FS is a file system. Its methods may be called concurrently. Errors are as
// in package os: errors.Is tells fs.ErrExist and fs.ErrNotExist, and [IsFull]
// a file system without room.
type FS interface {
	// Open opens a regular file; flag is made of the os.O_* constants. What it
	// creates belongs to the user alone (0600).
	Open(name string, flag int) (File, error)
	// Mkdir creates one directory for the user alone (0700).
	Mkdir(name string) error
	// Stat does not follow a symbolic link in the last element.
	Stat(name string) (fs.FileInfo, error)
	// SameFile reports whether two answers of Stat are about one file.
	SameFile(a, b fs.FileInfo) bool
	// Link gives a file a second name; fs.ErrExist when that is taken.
	Link(oldname, newname string) error
	// Rename replaces newname.
	Rename(oldname, newname string) error
	// RenameExclusive fails with fs.ErrExist when newname is taken.
	RenameExclusive(oldname, newname string) error
	Remove(name string) error
	// List calls each with the names in a directory, in no order, until it
	// returns false. It holds few names in memory at a time.
	List(dir string, each func(name string) bool) error
	// SyncDir makes the names in dir durable: everything that was created,
	// linked, renamed or removed there.
	SyncDir(dir string) error
	// Free returns how many bytes a user may still put on the file system of dir;
	// known is false where that cannot be asked.
	Free(dir string) (bytes int64, known bool)
	// Lock opens and locks a file, creating it, and answers ErrLocked at once
	// when it is locked already, by this process too. Closing the file, also by
	// the death of the process, unlocks it.
	Lock(name string) (File, error)
}

// File is an open file.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Stat() (fs.FileInfo, error)
	// Sync makes the file's bytes and its size durable, but not its name
	// (fdatasync).
	Sync() error
	Truncate(size int64) error
	// Own gives the file a mode, unless that is 0, and a user and a group, where
	// they are not negative, durably.
	Own(mode fs.FileMode, uid, gid int) error
	// Reserve makes the file at least size bytes long and, where the system
	// can, sets the space for them aside; new bytes read as zero. aside is false
	// where it could not.
	Reserve(size int64) (aside bool, err error)
}
