package ticket_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/wsingest/wsingest/middleware/ticket"
)

// vectors are in a file, since implementations in other languages are tested
// with them too.
type vectors struct {
	Tickets []struct {
		Name   string          `json:"name"`
		Key    string          `json:"key"`
		Claims json.RawMessage `json:"claims"`
		Ticket string          `json:"ticket"`
	} `json:"tickets"`
	Refused []struct {
		Name   string   `json:"name"`
		Keys   []string `json:"keys"`
		Ticket string   `json:"ticket"`
		Why    string   `json:"why"` // part of the error
	} `json:"refused"`
}

func readVectors(t *testing.T) (v vectors) {
	t.Helper()
	p, err := os.ReadFile("testdata/vectors.json")
	if err == nil {
		err = json.Unmarshal(p, &v)
	}
	if err != nil {
		t.Fatal(err)
	}
	if len(v.Tickets) < 5 || len(v.Refused) < 15 {
		t.Fatalf("only %d tickets and %d refused ones", len(v.Tickets), len(v.Refused))
	}
	return v
}

func claimsOf(t *testing.T, p []byte) ticket.Claims {
	t.Helper()
	var c struct {
		Expires                int64
		ID, Owner, Route, Name string
		Type                   string `json:"media-type"`
		Length                 *int64
		MaxSize                int64  `json:"max-size"`
		SHA256                 []byte `json:"sha-256"`
	}
	d := json.NewDecoder(bytes.NewReader(p))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		t.Fatal(err)
	}
	return ticket.Claims{Expires: time.Unix(c.Expires, 0), ID: c.ID, Owner: c.Owner, Route: c.Route, Name: c.Name,
		Type: c.Type, Length: c.Length, MaxSize: c.MaxSize, SHA256: c.SHA256}
}

func TestTicketsOfTheVectors(t *testing.T) {
	for _, vector := range readVectors(t).Tickets {
		t.Run(vector.Name, func(t *testing.T) {
			want := claimsOf(t, vector.Claims)
			minted, err := ticket.Mint([]byte(vector.Key), want)
			if err != nil {
				t.Fatal(err)
			}
			if minted != vector.Ticket {
				t.Errorf("minted\n%s\nexpected\n%s", minted, vector.Ticket)
			}
			v, err := ticket.NewVerifier([]byte(vector.Key))
			if err != nil {
				t.Fatal(err)
			}
			got, err := v.Verify(vector.Ticket)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("it claims %+v, expected %+v", got, want)
			}
		})
	}
}

func TestTicketsThatAreRefused(t *testing.T) {
	for _, vector := range readVectors(t).Refused {
		t.Run(vector.Name, func(t *testing.T) {
			var keys [][]byte
			for _, key := range vector.Keys {
				keys = append(keys, []byte(key))
			}
			v, err := ticket.NewVerifier(keys...)
			if err != nil {
				t.Fatal(err)
			}
			c, err := v.Verify(vector.Ticket)
			if err == nil || !strings.Contains(err.Error(), vector.Why) {
				t.Errorf("the error is %v, expected it to say %q", err, vector.Why)
			}
			if !reflect.DeepEqual(c, ticket.Claims{}) {
				t.Errorf("it claims %+v nevertheless", c)
			}
			for _, key := range vector.Keys {
				if err != nil && strings.Contains(err.Error(), key) {
					t.Errorf("the error tells the key: %v", err)
				}
			}
		})
	}
}

var (
	oldKey = []byte("an old key of the app and server")
	newKey = []byte("the new key of an app and server")
	soon   = time.Now().Add(time.Hour).Truncate(time.Second)
)

func mint(t *testing.T, key []byte, c ticket.Claims) string {
	t.Helper()
	s, err := ticket.Mint(key, c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestTwoKeysWhileOneTakesThePlaceOfTheOther(t *testing.T) {
	before, during := mint(t, oldKey, ticket.Claims{Expires: soon}), mint(t, newKey, ticket.Claims{Expires: soon})
	for _, step := range []struct {
		keys     [][]byte
		old, new bool
	}{
		{[][]byte{oldKey}, true, false},
		{[][]byte{newKey, oldKey}, true, true},
		{[][]byte{newKey}, false, true},
	} {
		v, err := ticket.NewVerifier(step.keys...)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := v.Verify(before); (err == nil) != step.old {
			t.Errorf("with %d keys, one of the old: %v", len(step.keys), err)
		}
		if _, err := v.Verify(during); (err == nil) != step.new {
			t.Errorf("with %d keys, one of the new: %v", len(step.keys), err)
		}
	}
}

// TestNoBitCanBeChanged: whichever character of a ticket is another, it is
// refused.
func TestNoBitCanBeChanged(t *testing.T) {
	v, err := ticket.NewVerifier(newKey)
	if err != nil {
		t.Fatal(err)
	}
	good := mint(t, newKey, ticket.Claims{Expires: soon, Owner: "ada", MaxSize: 10})
	if _, err := v.Verify(good); err != nil {
		t.Fatal(err)
	}
	for i := range good {
		for _, other := range []byte("AB.9\n\x00") {
			if bad := good[:i] + string(other) + good[i+1:]; bad != good {
				if _, err := v.Verify(bad); err == nil {
					t.Errorf("taken with character %d changed to %q", i, other)
				}
			}
		}
	}
}

func TestKeysAreNotShortNorMany(t *testing.T) {
	for name, keys := range map[string][][]byte{
		"none":                        nil,
		"three":                       {newKey, oldKey, newKey},
		"an environment not set":      {[]byte("")},
		"a short one":                 {[]byte("hunter2")},
		"one of the two is not there": {newKey, nil},
	} {
		_, err := ticket.NewVerifier(keys...)
		if err == nil {
			t.Errorf("%s: taken", name)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error tells the key: %v", name, err)
		}
	}
	if _, err := ticket.Mint([]byte("hunter2"), ticket.Claims{Expires: soon}); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("minting with a short key: %v", err)
	}
}

func TestClaimsThatMakeNoSenseAreNotMinted(t *testing.T) {
	n := func(n int64) *int64 { return &n }
	for name, c := range map[string]ticket.Claims{
		"expires":    {},
		"id":         {Expires: soon, ID: "short"},
		"owner":      {Expires: soon, Owner: strings.Repeat("x", 1025)},
		"route":      {Expires: soon, Route: "/upload/../admin/"},
		"name":       {Expires: soon, Name: "\xff"},
		"media-type": {Expires: soon, Type: "*/*"},
		"length":     {Expires: soon, Length: n(-1)},
		"max-size":   {Expires: soon, MaxSize: -1},
		"more than":  {Expires: soon, Length: n(11), MaxSize: 10},
		"sha-256":    {Expires: soon, SHA256: make([]byte, 20)},
	} {
		if _, err := ticket.Mint(newKey, c); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: the error is %v, expected it to name the claim", name, err)
		}
	}
	if _, err := ticket.Mint(newKey, ticket.Claims{Expires: soon, Owner: strings.Repeat("\x01", 1024)}); err == nil || !strings.Contains(err.Error(), "8192") {
		t.Errorf("too large a ticket: %v", err)
	}
}

func TestRoutes(t *testing.T) {
	for _, c := range []struct {
		route, path string
		want        bool
	}{
		{"", "/anything/../at all", true},
		{"/upload/", "/upload/a", true},
		{"/upload/", "/upload/", true},
		{"/upload/", "/upload", false},
		{"/upload/", "/uploads/a", false},
		{"/upload/", "/upload/../admin", false},
		{"/upload/", "/upload//a", false},
		{"/upload/", "/upload/./a", false},
		{"/upload/a", "/upload/a", true},
		{"/upload/a", "/upload/a/", false},
		{"/upload/a", "/upload/a/b", false},
		{"/upload/a", "/UPLOAD/a", false},
		{"/", "/x", true},
		{"/", "", false},
	} {
		if got := (ticket.Claims{Route: c.route}).AllowsRoute(c.path); got != c.want {
			t.Errorf("route %q, path %q: %v, expected %v", c.route, c.path, got, c.want)
		}
	}
}

func TestTypes(t *testing.T) {
	for _, c := range []struct {
		claim, given string
		want         bool
	}{
		{"", "", true},
		{"", "nonsense", true},
		{"image/png", "image/png", true},
		{"image/png", "Image/PNG; q=1", true},
		{"image/png", "image/pngx", false},
		{"image/png", "", false},
		{"image/*", "image/webp", true},
		{"image/*", "image/", false},
		{"image/*", "imagery/x", false},
		{"image/*", "", false},
	} {
		if got := (ticket.Claims{Type: c.claim}).AllowsType(c.given); got != c.want {
			t.Errorf("claim %q, given %q: %v, expected %v", c.claim, c.given, got, c.want)
		}
	}
}

func FuzzVerify(f *testing.F) {
	v, err := ticket.NewVerifier(newKey)
	if err != nil {
		f.Fatal(err)
	}
	f.Add("wst1.e30.AAAA")
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		if _, err := v.Verify(s); err == nil {
			t.Errorf("taken: %q", s)
		}
	})
}

// FuzzClaims: what is in a genuine ticket is refused, or says the same when it
// is minted again.
func FuzzClaims(f *testing.F) {
	v, err := ticket.NewVerifier(newKey)
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(`{"expires":1999999999,"owner":"ada","length":0}`))
	f.Add([]byte(`{"expires":1,"expires":2}`))
	f.Fuzz(func(t *testing.T, claims []byte) {
		c, err := v.Verify(ticket.Sign(newKey, base64.RawURLEncoding.EncodeToString(claims)))
		if err != nil {
			return
		}
		again, err := v.Verify(mint(t, newKey, c))
		if err != nil || !reflect.DeepEqual(again, c) {
			t.Errorf("%q claims %+v, and then %+v (%v)", claims, c, again, err)
		}
	})
}
