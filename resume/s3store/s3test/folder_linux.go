package s3test

import (
	"os"

	"golang.org/x/sys/unix"
)

// shared is where the folder goes: into memory, where there is such a thing with
// extended attributes, since what a disk does is not what is tested.
func shared() string {
	const memory = "/dev/shm"
	dir, err := os.MkdirTemp(memory, "wsingest-probe-")
	if err != nil {
		return os.TempDir()
	}
	defer os.RemoveAll(dir)
	if unix.Setxattr(dir, "user.probe", []byte("1"), 0) != nil {
		return os.TempDir()
	}
	return memory
}
