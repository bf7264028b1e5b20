package vfs

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

func syncData(f *os.File) error {
	return control("fdatasync", f, func(fd int) error { return unix.Fdatasync(fd) })
}

// reserve sets the blocks aside. A length beyond what is free is refused
// before a block is taken: fallocate would fill the disk first, and every
// other upload would feel it.
func reserve(f *os.File, size int64) (aside bool, err error) {
	info, err := f.Stat()
	if err != nil || info.Size() >= size {
		return false, err
	}
	err = control("fallocate", f, func(fd int) error {
		var st unix.Statfs_t
		if err := unix.Fstatfs(fd, &st); err == nil && st.Blocks > 0 && size-info.Size() > available(&st) {
			return unix.ENOSPC
		}
		return unix.Fallocate(fd, 0, 0, size)
	})
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return false, grow(f, size)
	}
	return err == nil, err
}

func available(st *unix.Statfs_t) int64 { return int64(st.Bavail) * st.Bsize }

func free(dir string) (bytes int64, known bool) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil || st.Blocks == 0 {
		return 0, false
	}
	return available(&st), true
}

func renameExclusive(oldname, newname string) error {
	err := unix.Renameat2(unix.AT_FDCWD, oldname, unix.AT_FDCWD, newname, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		return renameIfFree(oldname, newname)
	}
	if err != nil {
		return &os.LinkError{Op: "rename", Old: oldname, New: newname, Err: err}
	}
	return nil
}

// control runs op on f's descriptor, again when a signal cut it off: the Go
// runtime sends itself many.
func control(name string, f *os.File, op func(fd int) error) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		for {
			if failed = op(int(fd)); !errors.Is(failed, unix.EINTR) {
				return
			}
		}
	})
	if err == nil && failed != nil {
		err = &os.PathError{Op: name, Path: f.Name(), Err: failed}
	}
	return err
}
