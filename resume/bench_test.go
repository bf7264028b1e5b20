package resume_test

import (
	"fmt"
	"testing"

	"github.com/wsingest/wsingest/resume"
)

// BenchmarkUpdateCRC32C is the checksum of a message: from the cache, as when
// it was just received, and over more memory than a cache holds, as when
// somebody comes back to it later.
func BenchmarkUpdateCRC32C(b *testing.B) {
	const chunk = 256 << 10
	for _, memory := range []int{chunk, 256 << 20} {
		b.Run(fmt.Sprintf("in_%dKiB", memory>>10), func(b *testing.B) {
			p := make([]byte, memory)
			for i := range p {
				p[i] = byte(i)
			}
			crc := uint32(0)
			b.SetBytes(chunk)
			b.ReportAllocs()
			for at := 0; b.Loop(); at = (at + chunk) % memory {
				crc = resume.UpdateCRC32C(crc, p[at:at+chunk])
			}
		})
	}
}
