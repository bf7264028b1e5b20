package protocol

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"hash/crc32"
	"reflect"
	"strings"
	"testing"
)

func TestParseDigest(t *testing.T) {
	// The bytes of this hash give both + and / in base64.
	hash := sha256.Sum256([]byte("0"))
	std := base64.StdEncoding.EncodeToString(hash[:])
	if !strings.ContainsRune(std, '+') || !strings.ContainsRune(std, '/') {
		t.Fatalf("%s: choose another text, this one proves nothing", std)
	}
	sum := &Digest{SHA256: hash[:]}
	crc := &Digest{CRC32C: new(CRC32C(0xe3069283))}
	for _, c := range []struct {
		digest string
		want   *Digest
	}{
		{"sha-256:" + hex.EncodeToString(hash[:]), sum},
		{"sha-256:" + strings.ToUpper(hex.EncodeToString(hash[:])), sum},
		{"sha-256:" + std, sum},
		{"sha-256:" + strings.TrimRight(std, "="), sum},
		{"sha-256:" + base64.URLEncoding.EncodeToString(hash[:]), sum},
		{"sha-256:" + base64.RawURLEncoding.EncodeToString(hash[:]), sum},
		{"sha-256:" + strings.ReplaceAll(std, "+", " "), sum}, // an unescaped + in a query
		{"crc32c:e3069283", crc},
		{"crc32c:E3069283", crc},
		{"crc32c:4waSgw==", crc},
		{"crc32c:4waSgw", crc},
	} {
		got, err := ParseDigest(c.digest)
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s gave %+v, %v", c.digest, got, err)
		}
	}
	for _, c := range []struct{ digest, want string }{
		{"", `digest "", expected sha-256:<hex> or crc32c:<hex>`},
		{"md5:00", `digest "md5:00", expected sha-256:<hex> or crc32c:<hex>`},
		{"sha-256", `digest "sha-256", expected sha-256:<hex> or crc32c:<hex>`},
		{"SHA-256:00", `digest "SHA-256:00", expected sha-256:<hex> or crc32c:<hex>`},
		{"sha-256:00", `digest "sha-256:00", expected 32 bytes in hex or base64 behind "sha-256:"`},
		{"crc32c:", `digest "crc32c:", expected 4 bytes in hex or base64 behind "crc32c:"`},
		{"crc32c:zzzzzzzz", `digest "crc32c:zzzzzzzz", expected 4 bytes in hex or base64 behind "crc32c:"`},
		{"crc32c:4waSgwA=", `digest "crc32c:4waSgwA=", expected 4 bytes in hex or base64 behind "crc32c:"`},
	} {
		got, err := ParseDigest(c.digest)
		if err == nil {
			t.Errorf("%s was taken as %+v", c.digest, got)
		} else if err.Error() != c.want {
			t.Errorf("says %s\nwant %s", err, c.want)
		}
	}
}

// TestCRC32COnTheWire holds the order of bytes to the check value of the
// algorithm, which every table of CRCs lists for the text "123456789".
func TestCRC32COnTheWire(t *testing.T) {
	sum := crc32.Checksum([]byte("123456789"), crc32.MakeTable(crc32.Castagnoli))
	if sum != 0xe3069283 {
		t.Fatalf("the CRC-32C of 123456789 is %#x", sum)
	}
	p, err := json.Marshal(CRC32C(sum))
	if want := `"` + base64.StdEncoding.EncodeToString([]byte{0xe3, 0x06, 0x92, 0x83}) + `"`; err != nil || string(p) != want {
		t.Errorf("got %s, %v, want %s", p, err, want)
	}
}

func TestRangeOnTheWire(t *testing.T) {
	for want, r := range map[string]Range{
		"[0,null]": {},
		"[5,5]":    {5, new(int64(5))},
		"[0,9]":    {0, new(int64(9))},
	} {
		if p, err := json.Marshal(r); err != nil || string(p) != want {
			t.Errorf("got %s, %v, want %s", p, err, want)
		}
	}
}
