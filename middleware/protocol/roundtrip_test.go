package protocol

import (
	"encoding/json"
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

// TestRoundTrip: what was encoded decodes to the same message.
func TestRoundTrip(t *testing.T) {
	for _, c := range []struct {
		side     string
		decode   func([]byte) (Message, error)
		messages *rapid.Generator[Message]
	}{
		{"client", DecodeClient, rapid.OneOf(
			message(open), message(check), message(finish), rapid.Just(Message(&Cancel{})),
		)},
		{"server", DecodeServer, rapid.OneOf(
			message(ready), message(ack), message(done), message(failure), message(goaway),
		)},
	} {
		t.Run(c.side, rapid.MakeCheck(func(t *rapid.T) {
			m := c.messages.Draw(t, "message")
			p := Encode(m)
			if !json.Valid(p) {
				t.Fatalf("not JSON: %s", p)
			}
			got, err := c.decode(p)
			if err != nil {
				t.Fatalf("%s\n%v", p, err)
			}
			if !reflect.DeepEqual(got, m) {
				t.Fatalf("%s\ngave %#v\nwant %#v", p, got, m)
			}
		}))
	}
}

func message[M Message](gen func(*rapid.T) M) *rapid.Generator[Message] {
	return rapid.Custom(func(t *rapid.T) Message { return gen(t) })
}

func open(t *rapid.T) *Open {
	o := &Open{
		ID:            text.Draw(t, "id"),
		Name:          text.Draw(t, "name"),
		Type:          rapid.StringMatching(`[ -~]{0,30}`).Draw(t, "media-type"),
		Metadata:      rapid.MapOfN(text, text, 0, 5).Draw(t, "metadata"),
		WantDigest:    rapid.SampledFrom([]string{"", SHA256}).Draw(t, "want-digest"),
		Resume:        rapid.Bool().Draw(t, "resume"),
		PingTimeoutMS: rapid.Int64Range(-1, MaxPingTimeoutMS).Draw(t, "ping-timeout-ms"),
		Ticket:        text.Draw(t, "ticket"),
	}
	if len(o.Metadata) == 0 {
		o.Metadata = nil
	}
	o.Eager = rapid.Bool().Draw(t, "eager")
	if rapid.Bool().Draw(t, "lane") {
		r := anyRange(t)
		o.Range = &r
		if r.End != nil && rapid.Bool().Draw(t, "length known") {
			o.Length = new(rapid.Int64Range(*r.End, MaxPosition).Draw(t, "length"))
		}
	} else {
		o.Length = rapid.Ptr(positions, true).Draw(t, "length")
	}
	return o
}

func check(t *rapid.T) *Check {
	return &Check{Offset: positions.Draw(t, "offset"), CRC32C: crc.Draw(t, "crc32c")}
}

func finish(t *rapid.T) *Finish {
	return &Finish{Length: rapid.Ptr(positions, true).Draw(t, "length"), Digest: digest(t)}
}

func ready(t *rapid.T) *Ready {
	return &Ready{
		ID:       text.Draw(t, "id"),
		Offset:   positions.Draw(t, "offset"),
		Received: positions.Draw(t, "received"),
		Cursor:   positions.Draw(t, "cursor"),
		Length:   rapid.Ptr(positions, true).Draw(t, "length"),
		Missing:  rapid.SliceOf(rapid.Custom(anyRange)).Draw(t, "missing"),
		Have: rapid.SliceOf(rapid.Custom(func(t *rapid.T) Have {
			return Have{anyRange(t), crc.Draw(t, "crc32c")}
		})).Draw(t, "have"),
		Window: positions.Draw(t, "window"),
		Chunk:  positions.Draw(t, "chunk"),
		Limits: Limits{
			MaxSize:       positions.Draw(t, "max-size"),
			MinAppendSize: positions.Draw(t, "min-append-size"),
			MaxAppendSize: positions.Draw(t, "max-append-size"),
			MaxAge:        positions.Draw(t, "max-age"),
		},
		Keepalive: Keepalive{positions.Draw(t, "interval-ms"), positions.Draw(t, "timeout-ms")},
		Complete:  rapid.Bool().Draw(t, "complete"),
	}
}

func ack(t *rapid.T) *Ack {
	return &Ack{
		ID:       text.Draw(t, "id"),
		Offset:   positions.Draw(t, "offset"),
		Received: positions.Draw(t, "received"),
		Window:   positions.Draw(t, "window"),
		Chunk:    positions.Draw(t, "chunk"),
		State:    rapid.SampledFrom([]string{"", StateStoring, StateVerifying, StateDelivering}).Draw(t, "state"),
	}
}

func done(t *rapid.T) *Done {
	return &Done{
		ID:        text.Draw(t, "id"),
		Length:    positions.Draw(t, "length"),
		Digest:    digest(t),
		Response:  response(t),
		Location:  text.Draw(t, "location"),
		Cancelled: rapid.Bool().Draw(t, "cancelled"),
	}
}

func failure(t *rapid.T) *Error {
	e := &Error{
		ID:           text.Draw(t, "id"),
		Code:         Code(text.Draw(t, "code")),
		Detail:       text.Draw(t, "detail"),
		Resumable:    rapid.Bool().Draw(t, "resumable"),
		RetryAfterMS: positions.Draw(t, "retry-after-ms"),
		Offset:       rapid.Ptr(positions, true).Draw(t, "offset"),
		Missing:      rapid.SliceOf(rapid.Custom(anyRange)).Draw(t, "missing"),
		Response:     response(t),
	}
	if len(e.Missing) == 0 {
		e.Missing = nil
	}
	return e
}

func goaway(t *rapid.T) *Goaway {
	return &Goaway{
		ID:           text.Draw(t, "id"),
		Offset:       positions.Draw(t, "offset"),
		RetryAfterMS: positions.Draw(t, "retry-after-ms"),
	}
}

func response(t *rapid.T) *Response {
	if !rapid.Bool().Draw(t, "response") {
		return nil
	}
	r := &Response{
		Status:    rapid.IntRange(100, 599).Draw(t, "status"),
		Headers:   rapid.MapOfN(text, rapid.SliceOf(text), 0, 5).Draw(t, "headers"),
		Truncated: rapid.Bool().Draw(t, "truncated"),
	}
	if len(r.Headers) == 0 {
		r.Headers = nil
	}
	if rapid.Bool().Draw(t, "binary") {
		r.BodyBase64 = rapid.SliceOfN(rapid.Byte(), 1, 100).Draw(t, "body-base64")
	} else {
		r.Body = text.Draw(t, "body")
	}
	return r
}

func digest(t *rapid.T) *Digest {
	switch rapid.IntRange(0, 3).Draw(t, "digests") {
	case 1:
		return &Digest{SHA256: sum.Draw(t, "sha-256")}
	case 2:
		return &Digest{CRC32C: new(crc.Draw(t, "crc32c"))}
	case 3:
		return &Digest{SHA256: sum.Draw(t, "sha-256"), CRC32C: new(crc.Draw(t, "crc32c"))}
	}
	return nil
}

func anyRange(t *rapid.T) Range {
	r := Range{Start: positions.Draw(t, "start")}
	if rapid.Bool().Draw(t, "bounded") {
		r.End = new(rapid.Int64Range(r.Start, MaxPosition).Draw(t, "end"))
	}
	return r
}

var (
	text      = rapid.StringN(-1, 30, -1)
	positions = rapid.Int64Range(0, MaxPosition)
	crc       = rapid.Map(rapid.Uint32(), func(n uint32) CRC32C { return CRC32C(n) })
	sum       = rapid.SliceOfN(rapid.Byte(), 32, 32)
)
