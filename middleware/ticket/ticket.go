package ticket

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

const (
	// MinKeySize is the least number of bytes of a key.
	MinKeySize = 32
	// MaxSize is the most bytes a ticket may have.
	MaxSize = 8 << 10

	version = "wst1"
)

var encoding = base64.RawURLEncoding.Strict()

// Mint makes a ticket.
func Mint(key []byte, c Claims) (string, error) {
	if err := checkKey(key); err != nil {
		return "", fmt.Errorf("ticket: %w", err)
	}
	claims, err := c.encode()
	if err != nil {
		return "", fmt.Errorf("ticket: %w", err)
	}
	signed := version + "." + encoding.EncodeToString(claims)
	t := signed + "." + mac(key, signed)
	if len(t) > MaxSize {
		return "", fmt.Errorf("ticket: it has %d bytes, at most %d are taken", len(t), MaxSize)
	}
	return t, nil
}

func mac(key []byte, signed string) string {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(signed))
	return encoding.EncodeToString(h.Sum(nil))
}

// checkKey must not tell the key.
func checkKey(key []byte) error {
	if len(key) < MinKeySize {
		return fmt.Errorf("the key has %d bytes, expected at least %d random ones, such as openssl rand -hex 32 makes", len(key), MinKeySize)
	}
	return nil
}

// Verifier says whether tickets are genuine. Its methods may be called
// concurrently.
type Verifier struct{ keys [][]byte }

// NewVerifier returns one that takes tickets made with any of the keys, of
// which there are one or two: to change the key, have the server take the new
// and the old one, then the app use the new, and drop the old one when its
// tickets have expired.
func NewVerifier(keys ...[]byte) (*Verifier, error) {
	if len(keys) < 1 || len(keys) > 2 {
		return nil, fmt.Errorf("ticket: %d keys were given, expected one, or two while one takes the place of the other", len(keys))
	}
	v := new(Verifier)
	for i, key := range keys {
		if err := checkKey(key); err != nil {
			return nil, fmt.Errorf("ticket: key %d: %w", i+1, err)
		}
		v.keys = append(v.keys, append([]byte(nil), key...))
	}
	return v, nil
}

// Verify returns what a genuine ticket claims. Whether it has expired, and
// whether the upload is what it allows, is for the caller to say. The error is
// a sentence for whoever made the ticket, without a full stop; nothing of what
// a ticket claims is told, nor looked at, unless it is genuine.
func (v *Verifier) Verify(t string) (Claims, error) {
	if len(t) > MaxSize {
		return Claims{}, fmt.Errorf("it has %d bytes, expected at most %d", len(t), MaxSize)
	}
	parts := strings.Split(t, ".")
	switch {
	case len(parts) != 3:
		return Claims{}, fmt.Errorf("it has not the form %s.<claims>.<mac>", version)
	case parts[0] != version:
		return Claims{}, fmt.Errorf("it does not begin with %s., the one version known here", version)
	}
	if !v.genuine(parts[0]+"."+parts[1], parts[2]) {
		return Claims{}, errors.New("it was not made with the key of this server, or was changed on the way")
	}
	p, err := encoding.DecodeString(parts[1])
	if err != nil || strings.ContainsAny(parts[1], "\r\n") { // which package base64 passes over
		return Claims{}, errors.New("its claims are not base64url without padding")
	}
	c, err := decode(p)
	if err != nil {
		return Claims{}, fmt.Errorf("its claims cannot be read: %w", err)
	}
	return c, nil
}

// genuine takes the same time whatever is wrong, and whichever key fits.
func (v *Verifier) genuine(signed, sum string) bool {
	fits := 0
	for _, key := range v.keys {
		fits |= subtle.ConstantTimeCompare([]byte(mac(key, signed)), []byte(sum))
	}
	return fits == 1
}
