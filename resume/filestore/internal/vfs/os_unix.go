//go:build unix

package vfs

import (
	"errors"
	"os"
	"syscall"
)

// IsFull reports whether err says that there is no room: the disk is full or a
// quota is used up.
func IsFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
