package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// pool keeps memory for the page cache backed while the harness runs.
//
// Virtual machines hand free memory back to their hosts in blocks of 2 MiB
// (free page reporting), and touching such a block again costs seconds for
// each GiB: then the host is measured, not the server. So memory is touched
// once and released but for one page in every 2 MiB. What is released cannot
// grow together into such a block, stays backed, and is what the kernel takes
// first for the page cache. All of it is as before when the harness ends.
type pool struct {
	mem  []byte
	note string // why there is none
}

const (
	page      = 4 << 10
	hugeBlock = 2 << 20
)

// slack is memory for what others use up meanwhile, and for files that are
// being freed.
const slack = 4 << 30

// warmPool makes a pool of so many bytes, unless stopped says not to go on.
func warmPool(want int64, stopped func() bool) *pool {
	if free := memAvailable(); free < want*3/2 {
		return &pool{note: fmt.Sprintf("The page cache's memory was not warmed up: %d MiB are free, %d are needed. "+
			"On a virtual machine the rows may show how fast the host hands out memory.", free>>20, want*3/2>>20)}
	}
	mem, err := unix.Mmap(-1, 0, int(want), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err == nil {
		err = unix.Madvise(mem, unix.MADV_NOHUGEPAGE)
	}
	if err != nil {
		return &pool{mem: mem, note: fmt.Sprintf("The page cache's memory was not warmed up: %v.", err)}
	}
	fmt.Fprintf(os.Stderr, "warming up %d MiB of memory\n", want>>20)
	for i := 0; i < len(mem) && !(i%hugeBlock == 0 && stopped()); i += page {
		mem[i] = 1
	}
	for i := 0; i+hugeBlock <= len(mem); i += hugeBlock {
		if err := unix.Madvise(mem[i+page:i+hugeBlock], unix.MADV_DONTNEED); err != nil {
			return &pool{mem: mem, note: fmt.Sprintf("The page cache's memory was not warmed up: %v.", err)}
		}
	}
	return &pool{mem: mem}
}

func (p *pool) close() {
	if p.mem != nil {
		unix.Munmap(p.mem)
	}
}
