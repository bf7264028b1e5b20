package vfs

import (
	"errors"
	"io"
	"io/fs"
	"os"
)

// OS is the file system of the operating system.
type OS struct{}

var _ FS = OS{}

type osFile struct{ *os.File }

func (OS) Open(name string, flag int) (File, error) {
	f, err := os.OpenFile(name, flag, 0o600)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (OS) Mkdir(name string) error                       { return os.Mkdir(name, 0o700) }
func (OS) Stat(name string) (fs.FileInfo, error)         { return os.Lstat(name) }
func (OS) SameFile(a, b fs.FileInfo) bool                { return os.SameFile(a, b) }
func (OS) Link(oldname, newname string) error            { return os.Link(oldname, newname) }
func (OS) Rename(oldname, newname string) error          { return os.Rename(oldname, newname) }
func (OS) RenameExclusive(oldname, newname string) error { return renameExclusive(oldname, newname) }
func (OS) Remove(name string) error                      { return os.Remove(name) }
func (OS) Free(dir string) (bytes int64, known bool)     { return free(dir) }
func (OS) SyncDir(dir string) error                      { return syncDir(dir) }

func (OS) List(dir string, each func(name string) bool) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	for {
		names, err := d.Readdirnames(256)
		for _, name := range names {
			if !each(name) {
				return nil
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}

func (OS) Lock(name string) (File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := lock(f); err != nil {
		f.Close()
		return nil, err
	}
	return osFile{f}, nil
}

func (f osFile) Sync() error { return syncData(f.File) }

func (f osFile) Own(mode fs.FileMode, uid, gid int) error { return own(f.File, mode, uid, gid) }

func (f osFile) Reserve(size int64) (aside bool, err error) { return reserve(f.File, size) }

// grow is Reserve where the system has nothing better: the size is set, the
// space is not.
func grow(f *os.File, size int64) error {
	info, err := f.Stat()
	if err != nil || info.Size() >= size {
		return err
	}
	return f.Truncate(size)
}

// renameIfFree is RenameExclusive where the system has no such call. Another
// process that creates newname in between loses its file.
func renameIfFree(oldname, newname string) error {
	if _, err := os.Lstat(newname); err == nil {
		return &os.LinkError{Op: "rename", Old: oldname, New: newname, Err: fs.ErrExist}
	}
	return os.Rename(oldname, newname)
}
