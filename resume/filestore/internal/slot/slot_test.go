package slot

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math/rand/v2"
	"testing"
)

func frame(t testing.TB, seq uint64, payload []byte) []byte {
	t.Helper()
	b, err := Append(nil, seq, payload)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// frameOf frames a record as another version of this program would.
func frameOf(version uint32, seq uint64, payload []byte) []byte {
	b, _ := Append(nil, seq, payload)
	binary.LittleEndian.PutUint32(b[8:], version)
	crc := crc32.Update(crc32.Checksum(b[:28], table), table, payload)
	binary.LittleEndian.PutUint32(b[28:], crc)
	return b
}

func TestASlotComesBackAsItWasWritten(t *testing.T) {
	for _, n := range []int{0, 1, 4063, 4064, 4065, MaxPayload} {
		payload := bytes.Repeat([]byte{0xa5}, n)
		b := append(frame(t, 7, payload), "what was here before"...)
		seq, got, err := Decode(b)
		if err != nil || seq != 7 || !bytes.Equal(got, payload) {
			t.Fatalf("%d bytes: seq %d, %d bytes, %v", n, seq, len(got), err)
		}
	}
	if _, err := Append(nil, 1, make([]byte, MaxPayload+1)); err == nil {
		t.Fatal("a record that is too large was taken")
	}
}

func TestTurns(t *testing.T) {
	for seq, want := range map[uint64]int64{1: 0, 2: Size, 3: 0, 4: Size} {
		if got := Offset(seq); got != want {
			t.Errorf("record %d goes to %d, want %d", seq, got, want)
		}
	}
}

func TestEveryTornSlotIsNoticed(t *testing.T) {
	b := frame(t, 9, bytes.Repeat([]byte("abcdefgh"), 2000))
	for n := range len(b) {
		if _, _, err := Decode(b[:n]); err == nil {
			t.Fatalf("cut to %d bytes it is taken", n)
		}
	}
	for i := range len(b) * 8 {
		b[i/8] ^= 1 << (i % 8)
		if _, _, err := Decode(b); err == nil {
			t.Fatalf("with bit %d turned it is taken", i)
		}
		b[i/8] ^= 1 << (i % 8)
	}
}

func TestAnUnknownVersionIsNotDamage(t *testing.T) {
	b := frame(t, 1, []byte("{}"))
	b[8] = 2
	if _, _, err := Decode(b); !errors.Is(err, ErrDamaged) {
		t.Fatalf("version turned, checksum not: %v", err)
	}
	b = frameOf(2, 1, []byte("{}"))
	if _, _, err := Decode(b); !errors.Is(err, ErrVersion) {
		t.Fatalf("a whole slot of version 2: %v", err)
	}
	if _, _, err := Decode(make([]byte, 4096)); !errors.Is(err, ErrEmpty) {
		t.Fatalf("zeros: %v", err)
	}
	if _, _, err := Decode(nil); !errors.Is(err, ErrEmpty) {
		t.Fatalf("nothing: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(nil), uint16(0), byte(0))
	f.Add(make([]byte, 64), uint16(9), byte(1))
	f.Add(frame(f, 1, []byte(`{"id":"x"}`)), uint16(12), byte(0xff))
	f.Add(frame(f, 1<<63, bytes.Repeat([]byte("y"), 5000)), uint16(40), byte(1))
	f.Add(frameOf(2, 3, nil), uint16(8), byte(3))
	f.Fuzz(func(t *testing.T, b []byte, at uint16, turn byte) {
		seq, payload, err := Decode(b)
		if err != nil {
			return
		}
		// Whatever is taken is exactly what Append writes.
		want, err := Append(nil, seq, payload)
		if err != nil {
			t.Fatal(err)
		}
		got := bytes.Clone(b[:Length(b)])
		copy(got[24:28], want[24:28]) // reserved
		if !bytes.Equal(got[:24], want[:24]) || !bytes.Equal(got[HeaderSize:], want[HeaderSize:]) {
			t.Fatal("it was taken, and is not what was written")
		}
		if turn != 0 {
			b = bytes.Clone(b)
			b[int(at)%Length(b)] ^= turn
			if _, _, err := Decode(b); err == nil {
				t.Fatal("damaged in one byte, it was taken")
			}
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	payload := make([]byte, 600)
	for i := range payload {
		payload[i] = byte(rand.Uint32())
	}
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if buf, err = Append(buf[:0], 3, payload); err != nil {
			b.Fatal(err)
		}
	}
}
