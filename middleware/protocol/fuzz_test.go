package protocol

import (
	"bytes"
	"net/url"
	"reflect"
	"testing"
)

// The seeds are in testdata/fuzz, beside what fuzzing found.

func FuzzDecodeClient(f *testing.F) { fuzzDecode(f, DecodeClient) }

func FuzzDecodeServer(f *testing.F) { fuzzDecode(f, DecodeServer) }

// fuzzDecode: whatever comes in, decode does not panic, and what it takes is a
// message that survives a second trip over the wire.
func fuzzDecode(f *testing.F, decode func([]byte) (Message, error)) {
	f.Fuzz(func(t *testing.T, p []byte) {
		if len(p) > MaxClientMessageSize/2 {
			return // U+2028 takes twice as many bytes once it is escaped
		}
		m, err := decode(p)
		if err != nil {
			if m != nil {
				t.Fatalf("both a message and an error: %#v, %v", m, err)
			}
			return
		}
		encoded := Encode(m)
		again, err := decode(encoded)
		if err != nil {
			t.Fatalf("%q\nencodes as %q\nwhich is refused: %v", p, encoded, err)
		}
		if p2 := Encode(again); !bytes.Equal(encoded, p2) {
			t.Fatalf("%q\nencodes as %q\nand then as %q", p, encoded, p2)
		}
	})
}

// FuzzParsePlain: no URL makes ParsePlain panic, and what it takes is an open
// that a full client could send as well.
func FuzzParsePlain(f *testing.F) {
	f.Fuzz(func(t *testing.T, path, query string) {
		p, err := ParsePlain(&url.URL{Path: path, RawQuery: query})
		if err != nil {
			return
		}
		m, err := DecodeClient(Encode(&p.Open))
		if err != nil {
			t.Fatalf("%q?%q gives an open that is refused: %v", path, query, err)
		}
		if !reflect.DeepEqual(m, &p.Open) {
			t.Fatalf("%q?%q gives %#v, and over the wire %#v", path, query, p.Open, m)
		}
	})
}
