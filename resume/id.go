package resume

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
)

// ID names an upload: 22 to 64 characters of A-Z, a-z, 0-9, _ and -. The
// client chooses it, with at least 128 random bits, since who knows an ID and
// shares the owner may resume the upload. IDs that differ in case only are
// different.
type ID string

// Bounds of an ID's length in characters. 22 characters of base64url hold 128
// bits.
const (
	MinIDLength = 22
	MaxIDLength = 64
)

// NewID returns a random ID of 22 characters.
func NewID() ID {
	var b [16]byte
	rand.Read(b[:]) // never fails: crypto/rand ends the program instead
	return ID(base64.RawURLEncoding.EncodeToString(b[:]))
}

// ParseID checks that s has the form of an ID. The error says what is wrong
// with it and wraps [ErrBadID].
func ParseID(s string) (ID, error) {
	if len(s) < MinIDLength || len(s) > MaxIDLength {
		return "", fmt.Errorf("%w: it has %d characters, expected %d to %d", ErrBadID, len(s), MinIDLength, MaxIDLength)
	}
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '-':
		default:
			return "", fmt.Errorf("%w: character %q at position %d, expected only A-Z, a-z, 0-9, _ and -", ErrBadID, c, i)
		}
	}
	return ID(s), nil
}
