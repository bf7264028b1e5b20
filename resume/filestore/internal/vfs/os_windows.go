package vfs

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/windows"
)

// IsFull reports whether err says that there is no room: the disk is full or a
// quota is used up.
func IsFull(err error) bool {
	return errors.Is(err, windows.ERROR_DISK_FULL) || errors.Is(err, windows.ERROR_HANDLE_DISK_FULL) ||
		errors.Is(err, windows.ERROR_DISK_QUOTA_EXCEEDED)
}

// syncDir does nothing: Windows has no call that syncs a directory, and NTFS
// journals its names in order.
func syncDir(string) error { return nil }

// own knows of modes only whether the file may be written, and nothing of users.
func own(f *os.File, mode fs.FileMode, uid, gid int) error {
	if uid >= 0 || gid >= 0 {
		return &fs.PathError{Op: "chown", Path: f.Name(), Err: errors.ErrUnsupported}
	}
	if mode == 0 {
		return nil
	}
	return os.Chmod(f.Name(), mode)
}

func lock(f *os.File) error {
	// One byte far behind the content, so that who finds the lock taken can
	// still read who took it.
	at := windows.Overlapped{OffsetHigh: 1 << 30}
	err := windows.LockFileEx(windows.Handle(f.Fd()),
		windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &at)
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) || errors.Is(err, windows.ERROR_IO_PENDING) {
		return ErrLocked
	}
	return err
}
