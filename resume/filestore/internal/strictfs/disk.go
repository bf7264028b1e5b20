package strictfs

import (
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"time"
)

// pageSize is what a disk writes whole or not at all.
const pageSize = 4096

type page = [pageSize]byte

// inode is a file's content. Pages are never changed in place, so that copies
// of an inode can share them. A nil page is zeros.
type inode struct {
	size  int64
	pages []*page
	mtime time.Time
	mode  fs.FileMode // 0: as it was made
}

func (n *inode) clone() *inode {
	c := *n
	c.pages = slices.Clone(n.pages)
	return &c
}

// put writes p, which lies within one page.
func (n *inode) put(off int64, p []byte) {
	i := int(off / pageSize)
	for len(n.pages) <= i {
		n.pages = append(n.pages, nil)
	}
	fresh := new(page)
	if n.pages[i] != nil {
		*fresh = *n.pages[i]
	}
	copy(fresh[off%pageSize:], p)
	n.pages[i] = fresh
}

// resize cuts what lies behind size, so that it is zeros if it comes back.
func (n *inode) resize(size int64) {
	if size < n.size {
		keep := int((size + pageSize - 1) / pageSize)
		n.pages = n.pages[:min(len(n.pages), keep)]
		if in := size % pageSize; in != 0 && keep <= len(n.pages) && n.pages[keep-1] != nil {
			n.put(size, make([]byte, pageSize-in))
		}
	}
	n.size = size
}

// disk is what would be there after a loss of power, and what might be.
type disk struct {
	files   map[int]*inode
	names   map[string]int
	pending map[int][]change // by inode, in order
	renames []nameChange     // in order
}

// change of a file's content that was not synced: a part of one page, or a
// size.
type change struct {
	data []byte // nil: a size only
	off  int64
	size int64 // of the file after it
}

// nameChange is one operation on directories: each name gets an inode, or none
// (0). It happens whole or not at all.
type nameChange struct {
	names []string
	inos  []int
}

func (c nameChange) shares(o nameChange) bool {
	for _, name := range c.names {
		if slices.Contains(o.names, name) {
			return true
		}
	}
	return false
}

func newDisk() *disk {
	return &disk{files: map[int]*inode{}, names: map[string]int{"/": dirIno}, pending: map[int][]change{}}
}

func (d *disk) clone() *disk {
	c := newDisk()
	for ino, n := range d.files {
		c.files[ino] = n.clone()
	}
	for name, ino := range d.names {
		c.names[name] = ino
	}
	for ino, p := range d.pending {
		c.pending[ino] = slices.Clone(p)
	}
	c.renames = slices.Clone(d.renames)
	return c
}

func (d *disk) file(ino int) *inode {
	n := d.files[ino]
	if n == nil {
		n = new(inode)
		d.files[ino] = n
	}
	return n
}

// sync makes what is pending of a file durable.
func (d *disk) sync(ino int) {
	n := d.file(ino)
	for _, c := range d.pending[ino] {
		n.resize(max(n.size, c.size))
		if c.data != nil {
			n.put(c.off, c.data)
		}
		n.resize(c.size)
	}
	delete(d.pending, ino)
}

// forget drops what is pending of a file for good: after a failed fsync the
// kernel takes the pages for clean.
func (d *disk) forget(ino int) { delete(d.pending, ino) }

func (d *disk) apply(c nameChange) {
	for i, name := range c.names {
		if c.inos[i] == 0 {
			delete(d.names, name)
		} else {
			d.names[name] = c.inos[i]
		}
	}
}

// syncDir makes every pending change of a name in dir durable, and those that
// came before and have a name in common with one of them.
func (d *disk) syncDir(dir string) {
	keep := make([]bool, len(d.renames))
	for i := len(d.renames) - 1; i >= 0; i-- {
		for _, name := range d.renames[i].names {
			keep[i] = keep[i] || filepath.Dir(name) == dir
		}
		for j := i + 1; j < len(d.renames); j++ {
			keep[i] = keep[i] || keep[j] && d.renames[i].shares(d.renames[j])
		}
	}
	d.settle(keep)
}

func (d *disk) settle(keep []bool) {
	rest := d.renames[:0:0]
	for i, c := range d.renames {
		if keep[i] {
			d.apply(c)
		} else {
			rest = append(rest, c)
		}
	}
	d.renames = rest
}

// lose decides by chance about everything that is pending. What is left has
// nothing pending.
func (d *disk) lose(rng *rand.Rand) {
	// Sometimes nearly all is kept, sometimes nearly nothing.
	odds := []float64{0, 0.1, 0.5, 0.9, 1}[rng.IntN(5)]
	kept := func() bool { return rng.Float64() < odds }

	inos := make([]int, 0, len(d.pending))
	for ino := range d.pending {
		inos = append(inos, ino)
	}
	slices.Sort(inos)
	for _, ino := range inos {
		n := d.file(ino)
		size := n.size
		for _, c := range d.pending[ino] {
			if c.data != nil && kept() {
				n.put(c.off, c.data)
			}
			if kept() {
				size = c.size
			}
		}
		n.size = max(n.size, int64(len(n.pages))*pageSize)
		n.resize(size)
		delete(d.pending, ino)
	}

	keep := make([]bool, len(d.renames))
	for i, c := range d.renames {
		keep[i] = kept()
		for j := range i {
			if !keep[j] && c.shares(d.renames[j]) {
				keep[i] = false
			}
		}
	}
	d.settle(keep)
	d.renames = nil
}
