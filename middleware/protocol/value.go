package protocol

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"strings"
)

// Range is the bytes from Start up to, not including, End; [start,end] in
// JSON. End is nil, null in JSON, for as far as the upload reaches.
type Range struct {
	Start int64
	End   *int64
}

// MarshalJSON writes [start,end].
func (r Range) MarshalJSON() ([]byte, error) {
	return json.Marshal([2]any{r.Start, r.End})
}

// UnmarshalJSON reads [start,end] and refuses a range that is not one.
func (r *Range) UnmarshalJSON(p []byte) error {
	var pair []*int64
	if err := json.Unmarshal(p, &pair); err != nil || len(pair) != 2 || pair[0] == nil {
		return fmt.Errorf("range %s, expected [start,end] in bytes, end null when unknown", p)
	}
	*r = Range{*pair[0], pair[1]}
	if r.Start < 0 || r.Start > MaxPosition || r.End != nil && (*r.End < r.Start || *r.End > MaxPosition) {
		return fmt.Errorf("range %s, expected 0 <= start <= end <= %d", p, int64(MaxPosition))
	}
	return nil
}

// CRC32C is a checksum; in JSON the base64 of its four bytes, most significant
// first, as in RFC 9530.
type CRC32C uint32

// MarshalJSON writes base64.
func (c CRC32C) MarshalJSON() ([]byte, error) {
	return json.Marshal(binary.BigEndian.AppendUint32(nil, uint32(c)))
}

// UnmarshalJSON reads base64 of four bytes.
func (c *CRC32C) UnmarshalJSON(p []byte) error {
	var b []byte
	if err := json.Unmarshal(p, &b); err != nil || len(b) != crc32.Size {
		return fmt.Errorf("crc32c %s, expected the base64 of its 4 bytes, most significant first", p)
	}
	*c = CRC32C(binary.BigEndian.Uint32(b))
	return nil
}

// Digest is the digests of a whole file, keyed as in RFC 9530.
type Digest struct {
	SHA256 []byte  `json:"sha-256,omitempty"` // 32 bytes
	CRC32C *CRC32C `json:"crc32c,omitempty"`
}

// SHA256 is the name of the algorithm, in digest and in want-digest.
const SHA256 = "sha-256"

// UnmarshalJSON reads a digest, and refuses one that has no algorithm known
// here: the client asked for a verification it would not get.
func (d *Digest) UnmarshalJSON(p []byte) error {
	type plain Digest
	var v plain
	if err := json.Unmarshal(p, &v); err != nil {
		return fmt.Errorf(`digest %s, expected {"sha-256":"<base64 of its 32 bytes>"} or {"crc32c":"<base64 of its 4 bytes>"}`, excerpt(p))
	}
	if v.SHA256 == nil && v.CRC32C == nil {
		return fmt.Errorf(`digest %s names no algorithm known here, expected "sha-256" or "crc32c"`, excerpt(p))
	}
	if v.SHA256 != nil && len(v.SHA256) != sha256.Size {
		return fmt.Errorf("sha-256 of %d bytes, expected the base64 of its %d bytes", len(v.SHA256), sha256.Size)
	}
	*d = Digest(v)
	return nil
}

// ParseDigest reads a digest as it stands in a URL: "sha-256:" or "crc32c:"
// followed by hex, as sha256sum prints it, or by base64 of either alphabet.
func ParseDigest(s string) (*Digest, error) {
	name, value, ok := strings.Cut(s, ":")
	size := map[string]int{SHA256: sha256.Size, "crc32c": crc32.Size}[name]
	if !ok || size == 0 {
		return nil, fmt.Errorf("digest %q, expected sha-256:<hex> or crc32c:<hex>", s)
	}
	b, err := hex.DecodeString(value)
	if err != nil || len(b) != size {
		b, err = decodeBase64(value)
	}
	if err != nil || len(b) != size {
		return nil, fmt.Errorf("digest %q, expected %d bytes in hex or base64 behind %q", s, size, name+":")
	}
	if name == SHA256 {
		return &Digest{SHA256: b}, nil
	}
	crc := CRC32C(binary.BigEndian.Uint32(b))
	return &Digest{CRC32C: &crc}, nil
}

// decodeBase64 takes the standard and the URL alphabet, padded or not; a space
// is a plus sign that was not escaped in a query.
func decodeBase64(s string) ([]byte, error) {
	s = strings.NewReplacer("-", "+", "_", "/", " ", "+").Replace(strings.TrimRight(s, "="))
	return base64.RawStdEncoding.DecodeString(s)
}
