package protocol

import (
	"net/url"
	"reflect"
	"strings"
	"testing"
)

func TestParsePlain(t *testing.T) {
	hash := &Digest{SHA256: make([]byte, 32)}
	for _, c := range []struct {
		url  string
		want Plain
	}{
		{"/", Plain{}},
		{"", Plain{}},
		{"/upload/", Plain{}},
		{"/upload/..", Plain{}},
		{"/upload/.", Plain{}},
		{"/upload/a.txt", Plain{Open: Open{Name: "a.txt"}}},
		{"/upload/a%20b%2Fc.txt", Plain{Open: Open{Name: "c.txt"}}},
		{"/upload/a.txt?name=b.txt", Plain{Open: Open{Name: "b.txt"}}},
		{"/u/?name=%F0%9F%98%80", Plain{Open: Open{Name: "😀"}}},
		{"/u/?id=abc&media-type=text/plain&want-digest=sha-256&ticket=t", Plain{Open: Open{ID: "abc", Type: "text/plain", WantDigest: SHA256, Ticket: "t"}}},
		{"/u/?length=0", Plain{Open: Open{Length: new(int64(0))}}},
		{"/u/?length=9007199254740991", Plain{Open: Open{Length: new(int64(MaxPosition))}}},
		{"/u/?length=&offset=&digest=&acks=&finish=&id=", Plain{}},
		{"/u/?offset=0", Plain{Offset: new(int64(0))}},
		{"/u/?offset=5", Plain{Offset: new(int64(5))}},
		{"/u/?offset=resume", Plain{OffsetResume: true}},
		{"/u/?acks=1", Plain{Acks: true}},
		{"/u/?acks=0", Plain{}},
		{"/u/?finish=close", Plain{FinishOnClose: true}},
		{"/u/?digest=sha-256:" + strings.Repeat("0", 64), Plain{Digest: hash}},
		{"/u/?token=a&token=b&Length=x&mode=%ff", Plain{}}, // the app's
	} {
		u, err := url.Parse(c.url)
		if err != nil {
			t.Fatal(err)
		}
		p, err := ParsePlain(u)
		if err != nil || !reflect.DeepEqual(p, &c.want) {
			t.Errorf("%s\n\tgave %+v, %v\n\twant %+v", c.url, p, err, c.want)
		}
	}
}

func TestParsePlainErrors(t *testing.T) {
	for _, c := range []struct{ query, want string }{
		{"length=x", `length="x" in the URL, expected a number of bytes`},
		{"length=-1", `length="-1" in the URL, expected a number of bytes`},
		{"length=%2B1", `length="+1" in the URL, expected a number of bytes`},
		{"length=1.5", `length="1.5" in the URL, expected a number of bytes`},
		{"length=1e3", `length="1e3" in the URL, expected a number of bytes`},
		{"length=0x10", `length="0x10" in the URL, expected a number of bytes`},
		{"length=1_000", `length="1_000" in the URL, expected a number of bytes`},
		{"length=9007199254740992", `length=9007199254740992 in the URL, expected at most 9007199254740991 bytes`},
		{"length=99999999999999999999", `length=99999999999999999999 in the URL, expected at most 9007199254740991 bytes`},
		{"offset=end", `offset="end" in the URL, expected a number of bytes, or "resume"`},
		{"digest=x", `digest "x", expected sha-256:<hex> or crc32c:<hex>`},
		{"want-digest=md5", `in the URL: want-digest "md5", expected "sha-256"`},
		{"name=" + strings.Repeat("n", 1025), `in the URL: name of 1025 bytes, expected at most 1024`},
		{"name=%ff", `name="\xff" in the URL is not UTF-8`},
		{"acks=yes", `acks="yes" in the URL, expected 0 or 1`},
		{"finish=1", `finish="1" in the URL, expected "close"`},
		{"length=1&length=1", `length= stands 2 times in the URL, expected once`},
		{"id=%zz", `the query of the URL cannot be read: invalid URL escape "%zz"`},
		{"id=a;b=c", `the query of the URL cannot be read: invalid semicolon separator in query`},
	} {
		p, err := ParsePlain(&url.URL{Path: "/", RawQuery: c.query})
		if err == nil {
			t.Errorf("%.80s\n\twas taken as %+v", c.query, p)
		} else if err.Error() != c.want {
			t.Errorf("%.80s\n\tsays  %s\n\twant  %s", c.query, err, c.want)
		}
	}
	_, err := ParsePlain(&url.URL{Path: "/upload/\xff"})
	if want := `name "\xff" is not UTF-8: give another one with name= in the URL`; err == nil || err.Error() != want {
		t.Errorf("a path that is not UTF-8\n\tsays  %v\n\twant  %s", err, want)
	}
}
