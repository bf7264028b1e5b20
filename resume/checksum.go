package resume

import "hash/crc32"

// Castagnoli is the CRC-32C table (RFC 3720, appendix B.4). With it, package
// hash/crc32 uses the processor's own instruction.
var Castagnoli = crc32.MakeTable(crc32.Castagnoli)

// UpdateCRC32C returns the CRC-32C of the bytes that gave crc, followed by p.
// The CRC-32C of nothing is 0.
func UpdateCRC32C(crc uint32, p []byte) uint32 { return crc32.Update(crc, Castagnoli, p) }

// CombineCRC32C returns the CRC-32C of A followed by B, from the CRC-32C of
// each and B's length in bytes. It takes a microsecond, whatever the length.
func CombineCRC32C(a, b uint32, lengthB int64) uint32 {
	if a == 0 { // as that of nothing is
		return b
	}
	return mulmod(zeroBytes(lengthB), a) ^ b
}

// Polynomials over GF(2) modulo the Castagnoli polynomial are held reflected,
// as the CRC itself is: bit 31 stands for x^0, bit 0 for x^31.

const one = uint32(1) << 31

// squares[k] is x^(2^k).
var squares = func() (t [66]uint32) {
	t[0] = one >> 1
	for k := 1; k < len(t); k++ {
		t[k] = mulmod(t[k-1], t[k-1])
	}
	return t
}()

// zeroBytes returns x^(8n): multiplying a CRC by it is what n zero bytes do.
func zeroBytes(n int64) uint32 {
	p := one
	for k := 3; n > 0; k, n = k+1, n>>1 {
		if n&1 != 0 {
			p = mulmod(squares[k], p)
		}
	}
	return p
}

func mulmod(a, b uint32) (product uint32) {
	for bit := one; bit != 0; bit >>= 1 {
		if a&bit != 0 {
			product ^= b
		}
		carry := b & 1
		b >>= 1
		if carry != 0 {
			b ^= crc32.Castagnoli
		}
	}
	return product
}
