//go:build !linux

package s3test

import "os"

func shared() string { return os.TempDir() }
