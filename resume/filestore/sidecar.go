package filestore

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"go.uber.org/zap"

	"github.com/wsingest/wsingest/resume"
)

// A sidecar is there before its file is: so whoever finds the file finds both.
// What a crash may leave is a sidecar without its file, which the next try knows
// by what was written down of it, and takes away.

// isSidecar reports whether a name is one that sidecars have, also where the
// file system takes upper and lower case for the same.
func isSidecar(name string) bool {
	for n := utf8.RuneCountInString(name) - len(resume.SidecarSuffix); n > 0; n-- {
		_, size := utf8.DecodeRuneInString(name)
		name = name[size:]
	}
	return strings.EqualFold(name, resume.SidecarSuffix)
}

// sidecarTemp is where a sidecar stands before it gets its name.
func sidecarTemp(id resume.ID, path string) string {
	return filepath.Join(filepath.Dir(path), ".wsingest-"+string(id)+".json.tmp")
}

func sidecarMark(content []byte) *[2]int64 {
	if content == nil {
		return nil
	}
	return &[2]int64{int64(len(content)), int64(resume.UpdateCRC32C(0, content))}
}

// putSidecar makes the sidecar appear, whole and durably.
func (p place) putSidecar() error {
	temp, path := sidecarTemp(p.id, p.path), p.path+resume.SidecarSuffix
	if err := p.s.removeIfThere(temp); err != nil {
		return err
	}
	err := p.writeSidecar(temp)
	if err == nil {
		rename := p.s.fs.RenameExclusive
		if p.replaces() {
			rename = p.s.fs.Rename
		}
		err = rename(temp, path)
	}
	if err != nil {
		return errors.Join(storageError(err), p.s.removeIfThere(temp))
	}
	return p.s.fs.SyncDir(filepath.Dir(path))
}

func (p place) writeSidecar(temp string) error {
	f, err := p.s.fs.Open(temp, os.O_RDWR|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(p.o.Sidecar, 0)
	if err == nil {
		err = f.Sync()
	}
	if err == nil && p.owns() {
		err = p.ownFile(f)
	}
	return errors.Join(err, f.Close())
}

// dropSidecar removes the sidecar that was put where p says, if it is still that.
func (s *Store) dropSidecar(p intent) error {
	if p.Sidecar == nil {
		return nil
	}
	path := string(p.Path) + resume.SidecarSuffix
	ours, err := s.hasContent(path, p.Sidecar[0], uint32(p.Sidecar[1]))
	if err != nil || !ours {
		return err
	}
	return s.removeIfThere(path)
}

// forgetSidecar removes the sidecar of an upload that is deleted before its file
// has appeared. It gives mu up meanwhile.
func (u *upload) forgetSidecar() {
	p := u.next.publish
	if p == nil || p.Done || p.Sidecar == nil {
		return
	}
	there, err := u.isPublished(*p)
	if err == nil && !there {
		err = u.unlocked(func() error { return u.store.dropSidecar(*p) })
	}
	if err != nil {
		u.log.Warn("the sidecar of a file that did not appear cannot be removed", zap.String("path", string(p.Path)), zap.Error(err))
	}
}
