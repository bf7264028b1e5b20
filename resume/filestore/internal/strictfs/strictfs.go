// Package strictfs is a file system in memory that forgets what was not synced
// as soon as its power is cut, as the strictest of real ones might: of the
// bytes written since the last sync any pages may be lost, in any order; a
// file's size and its bytes are kept or lost apart; and so is every name that
// was made, moved or removed since its directory was synced, as long as no
// later change of a name is kept without the earlier ones.
package strictfs

import (
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/wsingest/wsingest/resume/filestore/internal/vfs"
)

// FS is such a file system. Its hooks are set before it is used.
type FS struct {
	// After is called after every operation that changes something, one at a
	// time, without a lock: Cut and Kill may be called from it.
	After func()
	// Fail may return an error for an operation ("write", "sync", "reserve",
	// "syncdir", "link", "create", ...) on a path, which then does not happen. A
	// sync that fails loses what it should have synced.
	Fail func(op, path string) error
	// Drops has programs see, behind a sync that failed, what the disk has: as
	// file systems do that drop the pages.
	Drops bool
	// Lie makes a sync of a path do nothing and succeed.
	Lie func(op, path string) bool
	// Room says how many bytes are free. Nil: that is not known.
	Room func() int64

	hooks sync.Mutex

	mu      sync.Mutex
	files   map[int]*inode // as programs see them
	names   map[string]int
	locked  map[int]bool
	lastIno int
	disk    *disk
}

// dirIno stands for every directory.
const dirIno = -1

var _ vfs.FS = (*FS)(nil)

// New returns an empty file system, which has a root directory.
func New() *FS { return mount(newDisk()) }

// mount shows what is on a disk.
func mount(d *disk) *FS {
	f := &FS{files: map[int]*inode{}, names: map[string]int{}, locked: map[int]bool{}, disk: d}
	for name, ino := range d.names {
		if !reachable(d.names, name) {
			continue
		}
		f.names[name] = ino
		if ino != dirIno && f.files[ino] == nil {
			n := d.file(ino).clone()
			n.mtime = time.Now()
			f.files[ino] = n
		}
		f.lastIno = max(f.lastIno, ino)
	}
	for ino := range d.files {
		f.lastIno = max(f.lastIno, ino)
	}
	return f
}

// reachable reports whether the directories above name are there.
func reachable(names map[string]int, name string) bool {
	for name != "/" {
		name = filepath.Dir(name)
		if names[name] != dirIno {
			return false
		}
	}
	return true
}

// Cut returns the file system as it may be found after the power was lost now.
// The old one goes on.
func (f *FS) Cut(rng *rand.Rand) *FS {
	f.mu.Lock()
	defer f.mu.Unlock()
	d := f.disk.clone()
	d.lose(rng)
	return mount(d)
}

// Kill returns the file system as the next process finds it when this one is
// killed now: nothing is lost yet, nothing more is durable. The old one goes
// on.
func (f *FS) Kill() *FS {
	f.mu.Lock()
	defer f.mu.Unlock()
	k := &FS{files: map[int]*inode{}, names: map[string]int{}, locked: map[int]bool{}, lastIno: f.lastIno, disk: f.disk.clone()}
	for ino, n := range f.files {
		k.files[ino] = n.clone()
	}
	for name, ino := range f.names {
		k.names[name] = ino
	}
	return k
}

// ReadFile returns what programs see of a file.
func (f *FS) ReadFile(name string) ([]byte, error) {
	h, err := f.Open(name, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	b := make([]byte, h.(*file).n.size)
	_, err = h.ReadAt(b, 0)
	return b, err
}

// before asks the hooks about an operation.
func (f *FS) before(op, path string) error {
	if f.Fail == nil {
		return nil
	}
	f.hooks.Lock()
	defer f.hooks.Unlock()
	if err := f.Fail(op, path); err != nil {
		return &fs.PathError{Op: op, Path: path, Err: err}
	}
	return nil
}

func (f *FS) after() {
	if f.After == nil {
		return
	}
	f.hooks.Lock()
	defer f.hooks.Unlock()
	f.After()
}

func (f *FS) lies(op, path string) bool { return f.Lie != nil && f.Lie(op, path) }

// rename does and notes one change of names.
func (f *FS) rename(c nameChange) {
	for i, name := range c.names {
		if c.inos[i] == 0 {
			delete(f.names, name)
		} else {
			f.names[name] = c.inos[i]
		}
	}
	f.disk.renames = append(f.disk.renames, c)
}

func fail(op, path string, err error) error { return &fs.PathError{Op: op, Path: path, Err: err} }

// Open implements [vfs.FS].
func (f *FS) Open(name string, flag int) (vfs.File, error) {
	if flag&os.O_CREATE != 0 {
		if err := f.before("create", name); err != nil {
			return nil, err
		}
	}
	h, changed, err := f.open(name, flag)
	if err != nil {
		return nil, err
	}
	if changed {
		f.after()
	}
	return h, nil
}

func (f *FS) open(name string, flag int) (h *file, changed bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	ino, there := f.names[name]
	switch {
	case ino == dirIno:
		return nil, false, fail("open", name, fs.ErrInvalid)
	case !there && flag&os.O_CREATE == 0, !there && f.names[filepath.Dir(name)] != dirIno:
		return nil, false, fail("open", name, fs.ErrNotExist)
	case there && flag&os.O_EXCL != 0:
		return nil, false, fail("open", name, fs.ErrExist)
	}
	if !there {
		f.lastIno++
		ino = f.lastIno
		f.files[ino] = &inode{mtime: time.Now()}
		f.rename(nameChange{[]string{name}, []int{ino}})
		changed = true
	}
	h = &file{fs: f, ino: ino, n: f.files[ino], path: name}
	if flag&os.O_TRUNC != 0 && h.n.size > 0 {
		h.resize(0)
		changed = true
	}
	return h, changed, nil
}

// Mkdir implements [vfs.FS].
func (f *FS) Mkdir(name string) error {
	if err := f.before("mkdir", name); err != nil {
		return err
	}
	f.mu.Lock()
	if _, there := f.names[name]; there {
		f.mu.Unlock()
		return fail("mkdir", name, fs.ErrExist)
	}
	f.rename(nameChange{[]string{name}, []int{dirIno}})
	f.mu.Unlock()
	f.after()
	return nil
}

// Stat implements [vfs.FS].
func (f *FS) Stat(name string) (fs.FileInfo, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	ino, there := f.names[name]
	if !there {
		return nil, fail("stat", name, fs.ErrNotExist)
	}
	if ino == dirIno {
		return info{name: name, ino: ino, dir: true}, nil
	}
	return infoOf(name, ino, f.files[ino]), nil
}

// SameFile implements [vfs.FS].
func (f *FS) SameFile(a, b fs.FileInfo) bool { return a.(info).ino == b.(info).ino }

// Link implements [vfs.FS].
func (f *FS) Link(oldname, newname string) error {
	return f.move("link", oldname, newname, func(ino int) (nameChange, error) {
		if _, taken := f.names[newname]; taken {
			return nameChange{}, fs.ErrExist
		}
		return nameChange{[]string{newname}, []int{ino}}, nil
	})
}

// Rename implements [vfs.FS].
func (f *FS) Rename(oldname, newname string) error {
	return f.move("rename", oldname, newname, func(ino int) (nameChange, error) {
		if f.names[newname] == ino { // as rename(2) does
			return nameChange{}, nil
		}
		return nameChange{[]string{newname, oldname}, []int{ino, 0}}, nil
	})
}

// RenameExclusive implements [vfs.FS].
func (f *FS) RenameExclusive(oldname, newname string) error {
	return f.move("rename", oldname, newname, func(ino int) (nameChange, error) {
		if _, taken := f.names[newname]; taken {
			return nameChange{}, fs.ErrExist
		}
		return nameChange{[]string{newname, oldname}, []int{ino, 0}}, nil
	})
}

func (f *FS) move(op, oldname, newname string, how func(ino int) (nameChange, error)) error {
	if err := f.before(op, newname); err != nil {
		return err
	}
	f.mu.Lock()
	ino, there := f.names[oldname]
	if !there || f.names[filepath.Dir(newname)] != dirIno {
		f.mu.Unlock()
		return fail(op, oldname, fs.ErrNotExist)
	}
	c, err := how(ino)
	if err != nil {
		f.mu.Unlock()
		return fail(op, newname, err)
	}
	f.rename(c)
	f.mu.Unlock()
	f.after()
	return nil
}

// Remove implements [vfs.FS].
func (f *FS) Remove(name string) error {
	if err := f.before("remove", name); err != nil {
		return err
	}
	f.mu.Lock()
	if _, there := f.names[name]; !there {
		f.mu.Unlock()
		return fail("remove", name, fs.ErrNotExist)
	}
	f.rename(nameChange{[]string{name}, []int{0}})
	f.mu.Unlock()
	f.after()
	return nil
}

// List implements [vfs.FS].
func (f *FS) List(dir string, each func(name string) bool) error {
	f.mu.Lock()
	if f.names[dir] != dirIno {
		f.mu.Unlock()
		return fail("list", dir, fs.ErrNotExist)
	}
	var names []string
	for name := range f.names {
		if rest, in := strings.CutPrefix(name, strings.TrimSuffix(dir, "/")+"/"); in && rest != "" && !strings.Contains(rest, "/") {
			names = append(names, rest)
		}
	}
	f.mu.Unlock()
	for _, name := range names {
		if !each(name) {
			break
		}
	}
	return nil
}

// SyncDir implements [vfs.FS].
func (f *FS) SyncDir(dir string) error {
	if err := f.before("syncdir", dir); err != nil {
		return err
	}
	if f.lies("syncdir", dir) {
		return nil
	}
	f.mu.Lock()
	if f.names[dir] != dirIno {
		f.mu.Unlock()
		return fail("syncdir", dir, fs.ErrNotExist)
	}
	f.disk.syncDir(dir)
	f.mu.Unlock()
	f.after()
	return nil
}

// Free implements [vfs.FS].
func (f *FS) Free(string) (bytes int64, known bool) {
	if f.Room == nil {
		return 0, false
	}
	return f.Room(), true
}

// Lock implements [vfs.FS].
func (f *FS) Lock(name string) (vfs.File, error) {
	h, _, err := f.open(name, os.O_RDWR|os.O_CREATE)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.locked[h.ino] {
		return nil, vfs.ErrLocked
	}
	f.locked[h.ino] = true
	h.lock = true
	return h, nil
}
