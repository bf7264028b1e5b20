package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// tick is the unit of CPU time in /proc (USER_HZ), in seconds: 1/100 on every
// architecture Go runs on.
const tick = 0.01

// stat is what /proc says of a process.
type stat struct {
	parent int
	kernel bool    // a thread of the kernel's own
	cpu    float64 // time used, seconds
}

func statOf(pid string) (s stat) {
	b, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return s
	}
	// The second field is a name in parentheses, which may hold anything.
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if len(f) < 13 {
		return s
	}
	s.parent, _ = strconv.Atoi(f[1])
	flags, _ := strconv.ParseUint(f[6], 10, 64)
	user, _ := strconv.ParseFloat(f[11], 64)
	system, _ := strconv.ParseFloat(f[12], 64)
	const kernelThread = 0x00200000 // PF_KTHREAD
	s.kernel = flags&kernelThread != 0
	s.cpu = (user + system) * tick
	return s
}

// processes returns the ids of all there are.
func processes() (pids []string) {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		pids = append(pids, filepath.Base(dir))
	}
	return pids
}

// family returns a process and its children.
func family(pid int) []int {
	pids := []int{pid}
	for _, p := range processes() {
		if statOf(p).parent == pid {
			child, _ := strconv.Atoi(p)
			pids = append(pids, child)
		}
	}
	return pids
}

// cpu returns the CPU time that processes have used, in seconds.
func cpu(pids ...int) (seconds float64) {
	for _, pid := range pids {
		seconds += statOf(strconv.Itoa(pid)).cpu
	}
	return seconds
}

// othersCPU returns the CPU time that was spent so far by anything but the
// processes given and the kernel's threads, which work for them: seconds, as
// part of all that passes on every core.
func othersCPU(pids ...int) (seconds float64) {
	b, _ := os.ReadFile("/proc/stat")
	line, _, _ := strings.Cut(string(b), "\n")
	f := strings.Fields(line)
	for _, i := range []int{1, 2, 3, 8} { // user, nice, system, steal: not interrupts, which serve the sockets
		if i < len(f) {
			v, _ := strconv.ParseFloat(f[i], 64)
			seconds += v * tick
		}
	}
	seconds -= cpu(pids...)
	for _, p := range processes() {
		if s := statOf(p); s.kernel {
			seconds -= s.cpu
		}
	}
	return seconds
}

// peakMemory returns the most memory that processes had resident, in bytes.
func peakMemory(pids ...int) (bytes int64) {
	for _, pid := range pids {
		bytes += field(fmt.Sprintf("/proc/%d/status", pid), "VmHWM:")
	}
	return bytes
}

// resident returns the memory that a process has now, in bytes.
func resident(pid int) int64 { return field(fmt.Sprintf("/proc/%d/status", pid), "VmRSS:") }

func memAvailable() int64 { return field("/proc/meminfo", "MemAvailable:") }

// field returns a value that /proc states in kB, in bytes; 0 if there is none.
func field(path, name string) int64 {
	b, _ := os.ReadFile(path)
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			kb, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kb << 10
		}
	}
	return 0
}
