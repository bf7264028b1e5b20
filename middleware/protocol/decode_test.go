package protocol

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

// TestDecodeErrors holds every refusal to its words: what was wrong, and what
// was expected.
func TestDecodeErrors(t *testing.T) {
	for _, c := range []struct{ message, want string }{
		// Not a message at all.
		{``, "text message `` is not a JSON object: at byte 0: unexpected end of JSON input"},
		{`hello`, "text message `hello` is not a JSON object: at byte 1: invalid character 'h' looking for beginning of value"},
		{`[1]`, "text message `[1]` is not a JSON object"},
		{`null`, "text message `null` is not a JSON object"},
		{`"open"`, "text message `\"open\"` is not a JSON object"},
		{`{"type":"cancel"} x`, "text message `{\"type\":\"cancel\"} x` is not a JSON object: at byte 19: invalid character 'x' after top-level value"},
		{`{"type":"cancel"}{"type":"cancel"}`, "text message `{\"type\":\"cancel\"}{\"type\":\"cancel\"}` is not a JSON object: at byte 18: invalid character '{' after top-level value"},
		{`{"type":"cancel",}`, "text message `{\"type\":\"cancel\",}` is not a JSON object: at byte 18: invalid character '}' looking for beginning of object key string"},
		{"\ufeff" + `{"type":"cancel"}`, "text message \"\\ufeff{\\\"type\\\":\\\"cancel\\\"}\" is not a JSON object: at byte 1: invalid character 'ï' looking for beginning of value"},
		{"{\"type\":\"open\",\"name\":\"\xff\"}", `text message "{\"type\":\"open\",\"name\":\"\xff\"}" is not UTF-8`},
		{strings.Repeat(" ", MaxClientMessageSize) + "{}", "text message of 65538 bytes, expected at most 65536"},
		{`{"name":"a file with a long name, much too long to be quoted"}`, "text message `{\"name\":\"a file with a long name, much t`... has no type, expected open, check, finish or cancel"},

		// The type.
		{`{}`, "text message `{}` has no type, expected open, check, finish or cancel"},
		{`{"type":null}`, "text message `{\"type\":null}` has no type, expected open, check, finish or cancel"},
		{`{"type":1}`, "text message `{\"type\":1}` has no type, expected open, check, finish or cancel"},
		{`{"Type":"open"}`, "text message `{\"Type\":\"open\"}` has no type, expected open, check, finish or cancel"},
		{`{"type":"Open"}`, `message type "Open" is unknown, expected open, check, finish or cancel`},
		{`{"type":"ready"}`, `message type "ready" is unknown, expected open, check, finish or cancel`},

		// What JSON leaves open.
		{`{"type":"open","type":"a/b"}`, `message "open": field "type" stands twice, expected once`},
		{`{"new":` + strings.Repeat("[", 16) + strings.Repeat("]", 16) + `,"type":"open"}`, "text message `{\"new\":[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]],`...: nested too deep, expected at most 16 objects and lists within each other"},
		{`{"type":"open","length":1,"length":2}`, `message "open": field "length" stands twice, expected once`},
		{`{"type":"open","metadata":{"a":"1","a":"2"}}`, `message "open": field "metadata.a" stands twice, expected once`},
		{`{"type":"open","new":[{"a":1,"a":2}]}`, `message "open": field "new.a" stands twice, expected once`},
		{`{"type":"open","length":1,"l\u0065ngth":2}`, `message "open": field "length" stands twice, expected once`},
		{`{"type":"open","Length":1}`, `message "open": field "Length", expected "length": names are case-sensitive`},
		{`{"type":"cancel","TYPE":"open"}`, `message "cancel": field "TYPE", expected "type": names are case-sensitive`},
		{`{"type":"finish","digest":{"SHA-256":""}}`, `message "finish": field "digest.SHA-256", expected "digest.sha-256": names are case-sensitive`},
		{`{"type":"open","name":"\ud83d"}`, `message "open": \ud83d is half a surrogate pair, expected text that is Unicode`},
		{`{"type":"open","name":"\ude00\ud83d"}`, `message "open": \ude00 is half a surrogate pair, expected text that is Unicode`},
		{`{"type":"open","name":"\uD83Dabcdef"}`, `message "open": \uD83D is half a surrogate pair, expected text that is Unicode`},
		{`{"type":"open","new":"\\\ud83d"}`, `message "open": \ud83d is half a surrogate pair, expected text that is Unicode`},
		{`{"type":"open","new":` + strings.Repeat("[", 16) + strings.Repeat("]", 16) + `}`, `message "open": nested too deep, expected at most 16 objects and lists within each other`},

		// open.
		{`{"type":"open","id":7}`, `message "open": field "id" is of the wrong type (number), expected a string`},
		{`{"type":"open","length":"7"}`, `message "open": field "length" is of the wrong type (string), expected a whole number, without fraction and exponent`},
		{`{"type":"open","length":7.5}`, `message "open": field "length" is of the wrong type (number 7.5), expected a whole number, without fraction and exponent`},
		{`{"type":"open","length":1e3}`, `message "open": field "length" is of the wrong type (number 1e3), expected a whole number, without fraction and exponent`},
		{`{"type":"open","length":99999999999999999999}`, `message "open": field "length" is of the wrong type (number 99999999999999999999), expected a whole number, without fraction and exponent`},
		{`{"type":"open","length":9007199254740992}`, `message "open": length 9007199254740992, expected 0 to 9007199254740991 bytes, or no length when it is unknown`},
		{`{"type":"open","length":-1}`, `message "open": length -1, expected 0 to 9007199254740991 bytes, or no length when it is unknown`},
		{`{"type":"open","name":"` + strings.Repeat("n", 1025) + `"}`, `message "open": name of 1025 bytes, expected at most 1024`},
		{`{"type":"open","media-type":"` + strings.Repeat("n", 1025) + `"}`, `message "open": media-type of 1025 bytes, expected at most 1024`},
		{`{"type":"open","media-type":"text/plain\r\nX: y"}`, `message "open": media-type "text/plain\r\nX: y", expected printable ASCII such as text/plain: it becomes a header`},
		{`{"type":"open","metadata":{"` + strings.Repeat("k", 4096) + `":"` + strings.Repeat("v", 4097) + `"}}`, `message "open": metadata of 8193 bytes, keys and values together, expected at most 8192`},
		{`{"type":"open","metadata":[]}`, `message "open": field "metadata" is of the wrong type (array), expected an object`},
		{`{"type":"open","metadata":{"a":1}}`, `message "open": field "metadata" is of the wrong type (number), expected a string`},
		{`{"type":"open","want-digest":"md5"}`, `message "open": want-digest "md5", expected "sha-256"`},
		{`{"type":"open","resume":1}`, `message "open": field "resume" is of the wrong type (number), expected true or false`},
		{`{"type":"open","ping-timeout-ms":3600001}`, `message "open": ping-timeout-ms 3600001, expected at most 3600000, or a negative number for a client that never pings`},
		{`{"type":"open","range":[0,6],"length":5}`, `message "open": range ends at 6, beyond the length 5`},
		{`{"type":"open","range":[5]}`, `message "open": range [5], expected [start,end] in bytes, end null when unknown`},
		{`{"type":"open","range":[null,5]}`, `message "open": range [null,5], expected [start,end] in bytes, end null when unknown`},
		{`{"type":"open","range":[0,1,2]}`, `message "open": range [0,1,2], expected [start,end] in bytes, end null when unknown`},
		{`{"type":"open","range":"0-5"}`, `message "open": range "0-5", expected [start,end] in bytes, end null when unknown`},
		{`{"type":"open","range":[5,4]}`, `message "open": range [5,4], expected 0 <= start <= end <= 9007199254740991`},
		{`{"type":"open","range":[-1,4]}`, `message "open": range [-1,4], expected 0 <= start <= end <= 9007199254740991`},
		{`{"type":"open","range":[0,9007199254740992]}`, `message "open": range [0,9007199254740992], expected 0 <= start <= end <= 9007199254740991`},

		// check.
		{`{"type":"check","crc32c":"AAAAAA=="}`, `message "check": field "offset" is missing`},
		{`{"type":"check","offset":5}`, `message "check": field "crc32c" is missing`},
		{`{"type":"check","offset":5,"crc32c":null}`, `message "check": field "crc32c" is missing`},
		{`{"type":"check","offset":-5,"crc32c":"AAAAAA=="}`, `message "check": offset -5, expected 0 to 9007199254740991 bytes`},
		{`{"type":"check","offset":5,"crc32c":"AAAA"}`, `message "check": crc32c "AAAA", expected the base64 of its 4 bytes, most significant first`},
		{`{"type":"check","offset":5,"crc32c":1234}`, `message "check": crc32c 1234, expected the base64 of its 4 bytes, most significant first`},

		// finish.
		{`{"type":"finish","length":-1}`, `message "finish": length -1, expected 0 to 9007199254740991 bytes`},
		{`{"type":"finish","digest":5}`, "message \"finish\": digest `5`, expected {\"sha-256\":\"<base64 of its 32 bytes>\"} or {\"crc32c\":\"<base64 of its 4 bytes>\"}"},
		{`{"type":"finish","digest":{}}`, "message \"finish\": digest `{}` names no algorithm known here, expected \"sha-256\" or \"crc32c\""},
		{`{"type":"finish","digest":{"md5":"AAAA"}}`, "message \"finish\": digest `{\"md5\":\"AAAA\"}` names no algorithm known here, expected \"sha-256\" or \"crc32c\""},
		{`{"type":"finish","digest":{"sha-256":"%"}}`, "message \"finish\": digest `{\"sha-256\":\"%\"}`, expected {\"sha-256\":\"<base64 of its 32 bytes>\"} or {\"crc32c\":\"<base64 of its 4 bytes>\"}"},
		{`{"type":"finish","digest":{"sha-256":"AAAA"}}`, `message "finish": sha-256 of 3 bytes, expected the base64 of its 32 bytes`},
	} {
		m, err := DecodeClient([]byte(c.message))
		if err == nil {
			t.Errorf("%.80s\n\twas taken as %#v", c.message, m)
		} else if err.Error() != c.want {
			t.Errorf("%.80s\n\tsays  %s\n\twant  %s", c.message, err, c.want)
		}
	}
}

func TestDecodeServerErrors(t *testing.T) {
	const rest = `"window":1,"chunk":1`
	for _, c := range []struct{ message, want string }{
		{`{"type":"open"}`, `message type "open" is unknown, expected ready, ack, done, error or goaway`},
		{strings.Repeat(" ", MaxMessageSize) + "{}", "text message of 262146 bytes, expected at most 262144"},
		{`{"type":"ack","id":"x","offset":0,"received":0,"chunk":1}`, `message "ack": field "window" is missing`},
		{`{"type":"ack","id":"x","offset":-1,"received":0,` + rest + `}`, `message "ack": offset -1, expected 0 to 9007199254740991 bytes`},
		{`{"type":"ack","id":"x","offset":0,"received":-1,` + rest + `}`, `message "ack": received -1, expected 0 to 9007199254740991 bytes`},
		{`{"type":"ack","id":"x","offset":0,"received":0,"window":-1,"chunk":1}`, `message "ack": window -1, expected 0 to 9007199254740991 bytes`},
		{`{"type":"ack","id":"x","offset":0,"received":0,"window":1,"chunk":-1}`, `message "ack": chunk -1, expected 0 to 9007199254740991 bytes`},
		{readyWith(`"missing":[]`, `"missing":null`), `message "ready": field "missing" is missing`},
		{readyWith(`"missing":[]`, `"missing":[null]`), `message "ready": range null, expected [start,end] in bytes, end null when unknown`},
		{readyWith(`"timeout-ms":60000`, `"timeout":1`), `message "ready": field "keepalive.timeout-ms" is missing`},
		{readyWith(`"limits":{}`, `"limits":{"Max-Size":1}`), `message "ready": field "limits.Max-Size", expected "limits.max-size": names are case-sensitive`},
		{readyWith(`"have":[]`, `"have":[{"range":[0,5]}]`), `message "ready": field "have.crc32c" is missing`},
		{readyWith(`"cursor":0`, `"cursor":-1`), `message "ready": cursor -1, expected 0 to 9007199254740991 bytes`},
		{readyWith(`"chunk":1`, `"chunk":1,"length":-1`), `message "ready": length -1, expected 0 to 9007199254740991 bytes`},
		{`{"type":"done","id":"x","length":-1}`, `message "done": length -1, expected 0 to 9007199254740991 bytes`},
		{`{"type":"done","id":"x","length":1,"response":{"status":"200"}}`, `message "done": field "response.status" is of the wrong type (string), expected a whole number, without fraction and exponent`},
		{`{"type":"done","id":"x","length":1,"response":{"status":200,"headers":{"A":"b"}}}`, `message "done": field "response.headers" is of the wrong type (string), expected a list`},
		{`{"type":"done","id":"x","length":1,"response":{"status":200,"body-base64":1}}`, `message "done": field "response.body-base64" is of the wrong type (number), expected a string of base64`},
		{`{"type":"error","code":"internal","resumable":true}`, `message "error": field "detail" is missing`},
		{`{"type":"error","code":"internal","detail":"","resumable":true,"offset":-1}`, `message "error": offset -1, expected 0 to 9007199254740991 bytes`},
		{`{"type":"goaway"}`, `message "goaway": field "offset" is missing`},
		{`{"type":"goaway","offset":-1}`, `message "goaway": offset -1, expected 0 to 9007199254740991 bytes`},
	} {
		m, err := DecodeServer([]byte(c.message))
		if err == nil {
			t.Errorf("%.80s\n\twas taken as %#v", c.message, m)
		} else if err.Error() != c.want {
			t.Errorf("%.80s\n\tsays  %s\n\twant  %s", c.message, err, c.want)
		}
	}
}

// readyWith is a ready in which old is replaced.
func readyWith(old, new string) string {
	const ready = `{"type":"ready","id":"x","offset":0,"received":0,"cursor":0,"missing":[],"have":[],` +
		`"window":1,"chunk":1,"limits":{},"keepalive":{"interval-ms":15000,"timeout-ms":60000}}`
	if !strings.Contains(ready, old) {
		panic("no " + old + " in ready")
	}
	return strings.Replace(ready, old, new, 1)
}

// TestForgiving is the other half: what a receiver has to take.
func TestForgiving(t *testing.T) {
	length := int64(5)
	for _, c := range []struct {
		message string
		want    Message
	}{
		{" \r\n\t{ \"type\" : \"cancel\" }\n", &Cancel{}},
		{`{"new":[{"a":1e999,"b":[]}],"type":"open"}`, &Open{}},
		{`{"type":"open","id":null,"length":null,"metadata":null,"range":null,"eager":null}`, &Open{}},
		{`{"type":"finish","digest":null}`, &Finish{}},
		{`{"type":"open","metadata":{"Name":"a","name":"b","":"c"}}`, &Open{Metadata: map[string]string{"Name": "a", "name": "b", "": "c"}}},
		{`{"type":"open","n\u0061me":"\ud83d\ude00 \\ud83d \u0000"}`, &Open{Name: "😀 \\ud83d \x00"}},
		{`{"type":"open","length":5,"new":` + strings.Repeat("[", 15) + strings.Repeat("]", 15) + `}`, &Open{Length: &length}},
		{`{"type":"open","range":[5,null]}`, &Open{Range: &Range{Start: 5}}},
		{`{"type":"open","range":[5,5],"length":5}`, &Open{Length: &length, Range: &Range{Start: 5, End: &length}}},
		{`{"type":"open","ping-timeout-ms":-1}`, &Open{PingTimeoutMS: -1}},
		{`{"type":"finish","digest":{"crc32c":"AAAAAQ==","blake3":"x"}}`, &Finish{Digest: &Digest{CRC32C: new(CRC32C(1))}}},
	} {
		m, err := DecodeClient([]byte(c.message))
		if err != nil || !reflect.DeepEqual(m, c.want) {
			t.Errorf("%s\n\tgave %#v, %v\n\twant %#v", c.message, m, err, c.want)
		}
	}
	if _, err := DecodeServer([]byte(readyWith(`"chunk":1`, `"chunk":1,"new":true`))); err != nil {
		t.Errorf("ready with a field from the future: %v", err)
	}
	m, err := DecodeServer([]byte(`{"type":"error","code":"from-the-future","detail":"d","resumable":false}`))
	if err != nil || m.(*Error).Code.CloseCode() != 1008 {
		t.Errorf("error with a code from the future: %v, %v", m, err)
	}
}

// TestEncodeIsShort: what goes over the wire is not longer than JSON asks for,
// so that a page of HTML in an answer fits into a message.
func TestEncodeIsShort(t *testing.T) {
	got := string(Encode(&Done{ID: "x", Response: &Response{Status: 200, Body: "<b>&</b>"}}))
	if want := `{"type":"done","id":"x","length":0,"response":{"status":200,"body":"<b>&</b>"}}`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := string(Encode(&Cancel{})); got != `{"type":"cancel"}` {
		t.Errorf("cancel is %s", got)
	}
	var ready map[string]json.RawMessage
	if err := json.Unmarshal(Encode(&Ready{}), &ready); err != nil {
		t.Fatal(err)
	}
	for _, list := range []string{"missing", "have"} {
		if string(ready[list]) != "[]" {
			t.Errorf("empty %s is %s, want []", list, ready[list])
		}
	}
}
