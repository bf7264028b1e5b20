package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"

	"golang.org/x/sys/unix"
)

// machine says what was measured on, and which versions of what.
func (c config) machine() string {
	var kernel unix.Utsname
	unix.Uname(&kernel)
	where := fmt.Sprintf("%s, %d cores, %.0f GiB of memory, files on %s, Linux %s", model(), runtime.NumCPU(),
		float64(field("/proc/meminfo", "MemTotal:"))/(1<<30), fileSystem(c.dir), unix.ByteSliceToString(kernel.Release[:]))
	return where + ". " + strings.Join(append([]string{"wsingest " + revision(), runtime.Version()}, c.peers()...), ", ")
}

// model is the name the processor gives itself.
func model() string {
	b, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(b)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

// fileSystems names those whose numbers are likely to come up (statfs(2)).
var fileSystems = map[int64]string{
	unix.EXT4_SUPER_MAGIC:      "ext4",
	unix.XFS_SUPER_MAGIC:       "XFS",
	unix.BTRFS_SUPER_MAGIC:     "Btrfs",
	unix.OVERLAYFS_SUPER_MAGIC: "overlayfs",
	unix.TMPFS_MAGIC:           "tmpfs (where syncing costs nothing: the rows that sync mean little)",
}

func fileSystem(dir string) string {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return "an unknown file system"
	}
	if name, ok := fileSystems[int64(s.Type)]; ok {
		return name
	}
	return fmt.Sprintf("a file system of type %#x", s.Type)
}

// revision is the commit of the tree this is run in, if git knows one.
func revision() string {
	out, err := exec.Command("git", "describe", "--always", "--dirty").Output()
	if err != nil {
		return "(of no known revision)"
	}
	return strings.TrimSpace(string(out))
}

// peers are the versions of what wsingest is compared with.
func (c config) peers() (versions []string) {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, d := range info.Deps {
			switch d.Path {
			case "github.com/tus/tusd/v2", "github.com/coder/websocket":
				versions = append(versions, d.Path+" "+d.Version)
			}
		}
	}
	if c.caddy != "" {
		if out, err := exec.Command(c.caddy, "version").Output(); err == nil {
			version, _, _ := strings.Cut(strings.TrimSpace(string(out)), " ")
			versions = append(versions, "Caddy "+version)
		}
	}
	return versions
}
