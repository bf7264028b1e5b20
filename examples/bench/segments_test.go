package main

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"
)

// Whatever is lost of a packet of many segments, the rest has its bytes, each
// under its sequence number, in headers that are right.
func TestWhatIsNotLostIsWhole(t *testing.T) {
	const size, first = 1448, 0xfffffff0 // the sequence number wraps
	payload := make([]byte, 9*size+100)
	rand.NewChaCha8([32]byte{}).Read(payload)
	packet := segmented(payload, size, first)
	if got, want := wireSize(packet), len(payload)+10*40; got != want {
		t.Fatalf("%d bytes on the wire, want %d", got, want)
	}
	chance := rand.New(rand.NewPCG(1, 2))
	for _, loss := range []float64{0, 0.01, 0.3, 0.9, 1} {
		sent, left := 0, 0
		for range 500 {
			sent += 10
			for _, p := range lose(packet, loss, chance) {
				left += check(t, p, payload, size, first)
			}
		}
		if got := 1 - float64(left)/float64(sent); got < loss*0.7 || got > loss*1.3 {
			t.Errorf("%.3f of the segments were lost, want %g", got, loss)
		}
	}
}

// segmented is a packet as the kernel hands it over: TCP over IPv4, to be cut.
func segmented(payload []byte, size int, seq uint32) []byte {
	p := make([]byte, tunHeader+40, tunHeader+40+len(payload))
	p[0], p[1] = 1, segmentedV4
	binary.NativeEndian.PutUint16(p[2:], 40)
	binary.NativeEndian.PutUint16(p[4:], uint16(size))
	binary.NativeEndian.PutUint16(p[6:], 20)
	binary.NativeEndian.PutUint16(p[8:], 16)
	ip, tcp := p[tunHeader:], p[tunHeader+20:]
	ip[0], ip[8], ip[9] = 0x45, 64, 6
	binary.BigEndian.PutUint16(ip[2:], uint16(40+len(payload)))
	copy(ip[12:], []byte{10, 77, 0, 1, 10, 77, 0, 2})
	binary.BigEndian.PutUint16(ip[10:], ^onesSum(ip[:20], 0))
	binary.BigEndian.PutUint32(tcp[4:], seq)
	tcp[12], tcp[13] = 5<<4, tcpFIN|tcpPSH
	return append(p, payload...)
}

// check returns how many segments a packet stands for.
func check(t *testing.T, p, payload []byte, size int, first uint32) int {
	t.Helper()
	ip, tcp, data := p[tunHeader:tunHeader+20], p[tunHeader+20:tunHeader+40], p[tunHeader+40:]
	at := int(binary.BigEndian.Uint32(tcp[4:]) - first)
	if at%size != 0 || !bytes.Equal(data, payload[at:at+len(data)]) {
		t.Fatalf("the bytes at %d are not those sent", at)
	}
	if int(binary.BigEndian.Uint16(ip[2:])) != 40+len(data) || onesSum(ip, 0) != 0xffff {
		t.Fatalf("an IP header of the wrong length or checksum: % x", ip)
	}
	if last := at+len(data) == len(payload); last != (tcp[13]&tcpFIN != 0) {
		t.Fatalf("FIN on %d bytes at %d", len(data), at)
	}
	if one := len(data) <= size; one != (p[1] == 0) {
		t.Fatalf("%d bytes are segmented as %d", len(data), p[1])
	}
	return (len(data) + size - 1) / size
}
