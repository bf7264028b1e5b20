package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// end is one end of a link: the address of a child, and the TUN device that is
// all it can reach. The child makes the device, in a network namespace that
// ends with it, and passes it to the harness: nothing has to be cleaned up.
type end struct {
	Addr       string
	Congestion string // control, of net.ipv4.tcp_congestion_control

	ours, theirs *os.File // of a pair of sockets
	tun          *os.File
}

// errNoNetwork: a child, which has said why, could not set up its network.
var errNoNetwork = errors.New("a network namespace and a TUN device in it could not be had (/dev/net/tun, and root or user namespaces, are needed)")

const (
	tunName = "bench0"
	// tunQueue is the packets that wait for the harness to read them: the
	// bottleneck is in the harness, so this must never be full.
	tunQueue = 20_000
	// passed is the descriptor a child has its socket under.
	passed = 3
	// buffers is what TCP may use for a connection at the most. With the 4 MiB
	// that are usual for sending, no upload of any kind gets past 40 MB/s at
	// 100 ms.
	buffers = "4096 131072 67108864"
)

func newEnd(i int, congestion string) (*end, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return &end{
		Addr:       fmt.Sprintf("10.77.0.%d", i+1),
		Congestion: congestion,
		ours:       os.NewFile(uintptr(fds[0]), "ours"),
		theirs:     os.NewFile(uintptr(fds[1]), "theirs"),
	}, nil
}

// isolate has cmd start in a network of its own, and who is not root as root
// of a user namespace besides.
func (e *end) isolate(cmd *exec.Cmd) {
	cmd.ExtraFiles = []*os.File{e.theirs}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if uid := os.Getuid(); uid != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
}

// join sets up the network of a child and passes its device to the harness.
func (e *end) join() error {
	tun, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("/dev/net/tun: %w", err)
	}
	defer unix.Close(tun)
	device, err := unix.NewIfreq(tunName)
	if err != nil {
		return err
	}
	device.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	if err := unix.IoctlIfreq(tun, unix.TUNSETIFF, device); err != nil {
		return fmt.Errorf("making a TUN device: %w", err)
	}
	if err := unix.IoctlSetInt(tun, unix.TUNSETOFFLOAD, unix.TUN_F_CSUM|unix.TUN_F_TSO4); err != nil {
		return fmt.Errorf("segmentation offload of a TUN device: %w", err)
	}
	if err := e.configure(); err != nil {
		return err
	}
	for name, value := range map[string]string{
		"tcp_rmem":            buffers,
		"tcp_wmem":            buffers,
		"tcp_no_metrics_save": "1", // a connection must not know what an earlier one found out
	} {
		if err := os.WriteFile("/proc/sys/net/ipv4/"+name, []byte(value), 0); err != nil {
			return err
		}
	}
	dialer.Control = e.connecting
	return unix.Sendmsg(passed, []byte{0}, unix.UnixRights(tun), nil, 0)
}

// configure gives the device its address and brings it and loopback up.
func (e *end) configure() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	for _, step := range []struct {
		name string
		op   uint
		set  func(*unix.Ifreq) error
	}{
		{"lo", unix.SIOCSIFFLAGS, func(r *unix.Ifreq) error { r.SetUint16(unix.IFF_UP); return nil }},
		{tunName, unix.SIOCSIFADDR, func(r *unix.Ifreq) error { return r.SetInet4Addr(net.ParseIP(e.Addr).To4()) }},
		{tunName, unix.SIOCSIFNETMASK, func(r *unix.Ifreq) error { return r.SetInet4Addr(net.IPv4Mask(255, 255, 255, 0)) }},
		{tunName, unix.SIOCSIFMTU, func(r *unix.Ifreq) error { r.SetUint32(1500); return nil }},
		{tunName, unix.SIOCSIFTXQLEN, func(r *unix.Ifreq) error { r.SetUint32(tunQueue); return nil }},
		{tunName, unix.SIOCSIFFLAGS, func(r *unix.Ifreq) error { r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING); return nil }},
	} {
		r, err := unix.NewIfreq(step.name)
		if err != nil {
			return err
		}
		if err := step.set(r); err != nil {
			return err
		}
		if err := unix.IoctlIfreq(s, step.op, r); err != nil {
			return fmt.Errorf("setting up %s (ioctl %#x): %w", step.name, step.op, err)
		}
	}
	return nil
}

// receive takes the device that a child passes.
func (e *end) receive() error {
	e.theirs.Close()
	rights := make([]byte, unix.CmsgSpace(4))
	n, used, _, _, err := unix.Recvmsg(int(e.ours.Fd()), make([]byte, 1), rights, unix.MSG_CMSG_CLOEXEC)
	if err != nil || n == 0 {
		return errNoNetwork
	}
	messages, err := unix.ParseSocketControlMessage(rights[:used])
	if err != nil || len(messages) != 1 {
		return fmt.Errorf("it passed no device (%v)", err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return fmt.Errorf("it passed no device (%v)", err)
	}
	if err := unix.SetNonblock(fds[0], true); err != nil { // so that close ends a read
		return err
	}
	e.tun = os.NewFile(uintptr(fds[0]), tunName)
	return nil
}

func (e *end) close() {
	for _, f := range []*os.File{e.ours, e.theirs, e.tun} {
		if f != nil {
			f.Close()
		}
	}
}
