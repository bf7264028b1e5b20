package strictfs

import (
	"io"
	"io/fs"
	"path/filepath"
	"time"
)

// file is an open file.
type file struct {
	fs   *FS
	ino  int
	n    *inode
	path string
	lock bool
}

func (h *file) ReadAt(p []byte, off int64) (int, error) {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	size, pages := h.n.size, h.n.pages
	done := 0
	for done < len(p) && off < size {
		in := off % pageSize
		n := int(min(pageSize-in, int64(len(p)-done), size-off))
		part := p[done : done+n]
		if i := int(off / pageSize); i < len(pages) && pages[i] != nil {
			copy(part, pages[i][in:])
		} else {
			clear(part)
		}
		done += n
		off += int64(n)
	}
	if done < len(p) {
		return done, io.EOF
	}
	return done, nil
}

func (h *file) WriteAt(p []byte, off int64) (int, error) {
	if err := h.fs.before("write", h.path); err != nil {
		return 0, err
	}
	h.fs.mu.Lock()
	for rest := p; len(rest) > 0; {
		n := min(pageSize-int(off%pageSize), len(rest))
		h.put(off, append([]byte(nil), rest[:n]...))
		off += int64(n)
		rest = rest[n:]
	}
	h.fs.mu.Unlock()
	h.fs.after()
	return len(p), nil
}

func (h *file) put(off int64, p []byte) {
	h.n.put(off, p)
	h.n.size = max(h.n.size, off+int64(len(p)))
	h.n.mtime = time.Now()
	h.fs.disk.pending[h.ino] = append(h.fs.disk.pending[h.ino], change{data: p, off: off, size: h.n.size})
}

func (h *file) resize(size int64) {
	h.n.resize(size)
	h.fs.disk.pending[h.ino] = append(h.fs.disk.pending[h.ino], change{size: size})
}

func (h *file) Truncate(size int64) error {
	if err := h.fs.before("truncate", h.path); err != nil {
		return err
	}
	h.fs.mu.Lock()
	h.resize(size)
	h.fs.mu.Unlock()
	h.fs.after()
	return nil
}

func (h *file) Reserve(size int64) (aside bool, err error) {
	if err := h.fs.before("reserve", h.path); err != nil {
		return false, err
	}
	h.fs.mu.Lock()
	h.resize(max(size, h.n.size))
	h.fs.mu.Unlock()
	h.fs.after()
	return false, nil
}

func (h *file) Sync() error {
	if err := h.fs.before("sync", h.path); err != nil {
		h.fs.mu.Lock()
		h.fs.disk.forget(h.ino)
		if h.fs.Drops {
			was := h.n.mtime
			*h.n = *h.fs.disk.file(h.ino).clone()
			h.n.mtime = was
		}
		h.fs.mu.Unlock()
		return err
	}
	if h.fs.lies("sync", h.path) {
		return nil
	}
	h.fs.mu.Lock()
	h.fs.disk.sync(h.ino)
	h.fs.mu.Unlock()
	h.fs.after()
	return nil
}

// Own keeps the mode alone. Users are for the tests on real disks.
func (h *file) Own(mode fs.FileMode, uid, gid int) error {
	if err := h.fs.before("own", h.path); err != nil {
		return err
	}
	lies := h.fs.lies("own", h.path)
	h.fs.mu.Lock()
	h.n.mode = mode
	if !lies {
		h.fs.disk.sync(h.ino)
		h.fs.disk.file(h.ino).mode = mode
	}
	h.fs.mu.Unlock()
	h.fs.after()
	return nil
}

func (h *file) Stat() (fs.FileInfo, error) {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	return infoOf(h.path, h.ino, h.n), nil
}

func (h *file) Close() error {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if h.lock {
		delete(h.fs.locked, h.ino)
		h.lock = false
	}
	return nil
}

type info struct {
	name  string
	ino   int
	size  int64
	mtime time.Time
	mode  fs.FileMode
	dir   bool
}

func infoOf(name string, ino int, n *inode) info {
	return info{name: name, ino: ino, size: n.size, mtime: n.mtime, mode: n.mode}
}

func (i info) Name() string       { return filepath.Base(i.name) }
func (i info) Size() int64        { return i.size }
func (i info) ModTime() time.Time { return i.mtime }
func (i info) IsDir() bool        { return i.dir }
func (i info) Sys() any           { return i.ino }

func (i info) Mode() fs.FileMode {
	if i.dir {
		return fs.ModeDir | 0o700
	}
	if i.mode != 0 {
		return i.mode
	}
	return 0o600
}
