package filestore_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/wsingest/wsingest/resume"
	"github.com/wsingest/wsingest/resume/filestore"
)

// A published file has the mode and the owner it is to have, and so has its
// sidecar, on the file system of the store and on another. Nothing else is left
// there.
func TestPublishedFilesHaveTheirModeAndOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: giving files away, and mounting a file system of its own, need root")
	}
	other := t.TempDir()
	if err := syscall.Mount("tmpfs", other, "tmpfs", 0, "size=32m"); err != nil {
		t.Fatalf("mounting a tmpfs: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(other, syscall.MNT_DETACH) })
	store, err := filestore.New(t.TempDir(), filestore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	data := make([]byte, 3<<20+7)
	rand.NewChaCha8([32]byte{}).Read(data)
	for where, below := range map[string]string{"the same file system": t.TempDir(), "another file system": other} {
		for i, o := range []resume.PublishOptions{
			{Conflict: resume.ConflictFail},
			{Conflict: resume.ConflictRename, Mode: 0o640, Owner: &resume.FileOwner{UID: 12345, GID: 54321}, Sidecar: []byte("{}")},
			{Conflict: resume.ConflictOverwrite, Mode: 0o444, Sidecar: []byte("{1}")},
			{Conflict: resume.ConflictFail, Mode: 0o664},
			{Conflict: resume.ConflictOverwrite, Owner: &resume.FileOwner{UID: -1, GID: 54321}, Sidecar: []byte("{2}")},
		} {
			dir := filepath.Join(below, fmt.Sprint(i))
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			id := complete(t, store, data)
			path, err := store.Publish(t.Context(), id, dir, "film.bin", o)
			if err != nil || path != filepath.Join(dir, "film.bin") {
				t.Fatalf("%s: %q, %v", where, path, err)
			}
			if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, data) {
				t.Errorf("%s: the file has %d bytes of %d (%v)", where, len(got), len(data), err)
			}
			dressed(t, path, o)
			files := 1
			if o.Sidecar != nil {
				files = 2
				dressed(t, path+resume.SidecarSuffix, o)
				if got, err := os.ReadFile(path + resume.SidecarSuffix); err != nil || !bytes.Equal(got, o.Sidecar) {
					t.Errorf("%s: the sidecar has %q (%v)", where, got, err)
				}
			}
			if err := store.Settle(t.Context(), id, nil); err != nil {
				t.Fatal(err)
			}
			if names, _ := os.ReadDir(dir); len(names) != files {
				t.Errorf("%s: there are %v", where, names)
			}
		}
	}
}

func dressed(t *testing.T, path string, o resume.PublishOptions) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	is, mode := info.Sys().(*syscall.Stat_t), o.Mode
	if mode == 0 {
		mode = 0o600
	}
	var want resume.FileOwner
	if o.Owner != nil {
		want = resume.FileOwner{UID: max(o.Owner.UID, 0), GID: max(o.Owner.GID, 0)}
	}
	if got := (resume.FileOwner{UID: int(is.Uid), GID: int(is.Gid)}); got != want || info.Mode() != mode {
		t.Errorf("%s is %v of %+v, expected %v of %+v", path, info.Mode(), got, mode, want)
	}
}

// complete returns an upload that nobody has taken yet.
func complete(t *testing.T, store *filestore.Store, data []byte) resume.ID {
	t.Helper()
	id := resume.NewID()
	c, err := store.Open(t.Context(), resume.OpenOptions{Info: resume.Info{ID: id, Length: int64(len(data))}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write(data); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Finish(context.Background(), resume.FinishOptions{Length: int64(len(data))}); err != nil {
		t.Fatal(err)
	}
	return id
}
