package main

import (
	"encoding/binary"
	"math/rand/v2"
)

// What the kernel puts in front of each packet of a TUN device: struct
// virtio_net_hdr of linux/virtio_net.h, in the machine's byte order. With it
// the kernel hands over many TCP segments as one large packet, as it would to
// a network card, which is what lets a process carry a gigabit.
const (
	tunHeader   = 10
	segmentedV4 = 1    // gso_type: TCP over IPv4
	segmentedBy = 0x7f // mask: the rest is ECN
)

const (
	tcpFIN = 0x01
	tcpPSH = 0x08
	tcpCWR = 0x80
)

// segments is how a packet divides: the size of the headers of each, and of
// the payload of all but the last. One of no size means that it is a segment
// itself.
func segments(packet []byte) (headers, size, count int) {
	ip := packet[tunHeader:]
	if packet[1]&segmentedBy != segmentedV4 || len(ip) < 40 || ip[0]>>4 != 4 {
		return 0, 0, 1
	}
	headers = int(ip[0]&0xf) * 4
	headers += int(ip[headers+12]>>4) * 4
	size = int(binary.NativeEndian.Uint16(packet[4:]))
	if size == 0 || headers >= len(ip) {
		return 0, 0, 1
	}
	return headers, size, (len(ip) - headers + size - 1) / size
}

// wireSize is the bytes of all IP packets that a packet stands for.
func wireSize(packet []byte) int {
	headers, _, count := segments(packet)
	return len(packet) - tunHeader + (count-1)*headers
}

// lose decides for each segment of a packet whether it is lost, and returns
// what is left.
func lose(packet []byte, loss float64, chance *rand.Rand) (left [][]byte) {
	if loss == 0 {
		return [][]byte{packet}
	}
	headers, size, count := segments(packet)
	first := 0 // of the run of segments that are not lost
	for i := range count {
		if chance.Float64() >= loss {
			continue
		}
		if first < i {
			left = append(left, cut(packet, headers, size, first, i, count))
		}
		first = i + 1
	}
	switch {
	case first == 0:
		return [][]byte{packet}
	case first < count:
		left = append(left, cut(packet, headers, size, first, count, count))
	}
	return left
}

// cut makes a packet of the segments from up to, not including, to.
func cut(packet []byte, headers, size, from, to, count int) []byte {
	payload := packet[tunHeader+headers:]
	payload = payload[from*size : min(to*size, len(payload))]
	p := append(append([]byte(nil), packet[:tunHeader+headers]...), payload...)
	if len(payload) <= size {
		p[1] = 0 // a segment by itself
		binary.NativeEndian.PutUint16(p[4:], 0)
	}
	ip := p[tunHeader:]
	tcp := ip[int(ip[0]&0xf)*4:]
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
	binary.BigEndian.PutUint16(ip[4:], binary.BigEndian.Uint16(ip[4:])+uint16(from))
	binary.BigEndian.PutUint16(ip[10:], 0)
	binary.BigEndian.PutUint16(ip[10:], ^onesSum(ip[:len(ip)-len(tcp)], 0))
	binary.BigEndian.PutUint32(tcp[4:], binary.BigEndian.Uint32(tcp[4:])+uint32(from*size))
	if to < count {
		tcp[13] &^= tcpFIN | tcpPSH
	}
	if from > 0 {
		tcp[13] &^= tcpCWR
	}
	// The kernel sums the segment itself (VIRTIO_NET_HDR_F_NEEDS_CSUM) and
	// expects the pseudo-header's sum here (RFC 9293, section 3.1).
	const protocolTCP = 6
	binary.BigEndian.PutUint16(tcp[16:], onesSum(ip[12:20], protocolTCP+uint32(len(tcp))))
	return p
}

// onesSum is the sum of RFC 1071, not complemented.
func onesSum(p []byte, sum uint32) uint16 {
	for ; len(p) >= 2; p = p[2:] {
		sum += uint32(binary.BigEndian.Uint16(p))
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return uint16(sum)
}
