//go:build unix

package vfs

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// IsFull reports whether err says that there is no room: the disk is full or a
// quota is used up.
func IsFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// own changes only what is different: of a file that it gave away before, it may
// be allowed nothing more.
func own(f *os.File, mode fs.FileMode, uid, gid int) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if mode != 0 && info.Mode().Perm() != mode {
		if err := f.Chmod(mode); err != nil {
			return err
		}
	}
	is := info.Sys().(*syscall.Stat_t)
	if uid >= 0 && uint32(uid) != is.Uid || gid >= 0 && uint32(gid) != is.Gid {
		if err := f.Chown(uid, gid); err != nil {
			return err
		}
	}
	return f.Sync() // fdatasync leaves both out
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
