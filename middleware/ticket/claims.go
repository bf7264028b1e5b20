package ticket

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"path"
	"strings"
	"time"
	"unicode/utf8"
)

// Claims are what a ticket allows. The zero value of a field restricts nothing,
// but for Expires.
type Claims struct {
	// Expires is when no upload can be created with the ticket any more, to the
	// second. In JSON: seconds since 1970.
	Expires time.Time
	// ID of the one upload the ticket is for: its single use. The app and the
	// client have to agree on it, whoever of them makes it up.
	ID string
	// Owner of the upload, at most 1,024 bytes. "": whoever the server takes the
	// request for.
	Owner string
	// Route is the path of the URL that the client connects to, as the server's
	// handler sees it. One that ends in a slash stands for everything below.
	Route string
	// Name the file has to have. A client that says none gets this one.
	Name string
	// Type is the media type the client has to give, such as "image/png", or
	// "image/*" for all of a kind. A client that gives none gets the former.
	Type string
	// Length is how many bytes the file has to have; nil: any number.
	Length *int64
	// MaxSize is how many bytes it may have at the most. 0: no bound.
	MaxSize int64
	// SHA256 of the content, 32 bytes.
	SHA256 []byte
}

// wire is how claims stand in a ticket, in the order in which Go writes them.
type wire struct {
	Expires int64  `json:"expires"`
	ID      string `json:"id,omitempty"`
	Owner   string `json:"owner,omitempty"`
	Route   string `json:"route,omitempty"`
	Name    string `json:"name,omitempty"`
	Type    string `json:"media-type,omitempty"`
	Length  *int64 `json:"length,omitempty"`
	MaxSize int64  `json:"max-size,omitempty"`
	SHA256  []byte `json:"sha-256,omitempty"` // base64 with padding, as "digest" in the protocol
}

// maxCount is the largest number that every parser of JSON keeps exact.
const maxCount = 1<<53 - 1

// encode returns the JSON of valid claims.
func (c Claims) encode() ([]byte, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(wire{c.Expires.Unix(), c.ID, c.Owner, c.Route, c.Name, c.Type, c.Length, c.MaxSize, c.SHA256})
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// decode reads claims, and refuses what two parsers could read differently.
func decode(p []byte) (c Claims, err error) {
	if !utf8.Valid(p) {
		return c, errors.New("they are not UTF-8")
	}
	var w wire
	fields := map[string]any{
		"expires": &w.Expires, "id": &w.ID, "owner": &w.Owner, "route": &w.Route, "name": &w.Name,
		"media-type": &w.Type, "length": &w.Length, "max-size": &w.MaxSize, "sha-256": &w.SHA256,
	}
	d := json.NewDecoder(bytes.NewReader(p))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return c, errors.New("they are not a JSON object")
	}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return c, fmt.Errorf("they are not JSON: %w", err)
		}
		name := t.(string)
		field, known := fields[name]
		var value json.RawMessage
		switch err := d.Decode(&value); {
		case err != nil:
			return c, fmt.Errorf("they are not JSON: %w", err)
		case !known:
			return c, fmt.Errorf("%q is not known here, or stands twice", name)
		case string(value) == "null", string(value) == `""`:
			return c, fmt.Errorf("%s is %s: leave out what is not to be restricted", name, value)
		}
		if err := json.Unmarshal(value, field); err != nil {
			return c, fmt.Errorf("%s is %.100s, which is not of its type", name, value)
		}
		delete(fields, name)
	}
	if _, err := d.Token(); err != nil || len(bytes.TrimSpace(p[d.InputOffset():])) > 0 {
		return c, errors.New("they are not one whole JSON object")
	}
	if _, missing := fields["expires"]; missing {
		return c, errors.New("expires is missing")
	}
	if _, missing := fields["max-size"]; !missing && w.MaxSize <= 0 {
		return c, fmt.Errorf("max-size is %d, expected 1 or more", w.MaxSize)
	}
	c = Claims{time.Unix(w.Expires, 0), w.ID, w.Owner, w.Route, w.Name, w.Type, w.Length, w.MaxSize, w.SHA256}
	return c, c.validate()
}

// validate finds claims that nothing could satisfy, or that are not what their
// author means.
func (c Claims) validate() error {
	if s := c.Expires.Unix(); s < 1 || s > maxCount {
		return fmt.Errorf("expires is %d, expected seconds since 1970", s)
	}
	for _, f := range []struct{ name, value string }{{"owner", c.Owner}, {"name", c.Name}, {"media-type", c.Type}, {"route", c.Route}} {
		if len(f.value) > 1024 || !utf8.ValidString(f.value) {
			return fmt.Errorf("%s has %d bytes, expected at most 1024 of UTF-8", f.name, len(f.value))
		}
	}
	if c.ID != "" && !isID(c.ID) {
		return fmt.Errorf("id is %.80q, expected 22 to 64 characters of A-Z a-z 0-9 _ -", c.ID)
	}
	if c.Route != "" && !cleanPath(c.Route) {
		return fmt.Errorf("route is %q, expected a path from the root, without . and .. in it", c.Route)
	}
	if c.Type != "" {
		if t, params, err := mime.ParseMediaType(c.Type); err != nil || len(params) > 0 || !strings.Contains(t, "/") || t[0] == '*' {
			return fmt.Errorf("media-type is %q, expected one without parameters such as image/png, or image/*", c.Type)
		}
	}
	if c.Length != nil && (*c.Length < 0 || *c.Length > maxCount) {
		return fmt.Errorf("length is %d, expected 0 to %d", *c.Length, int64(maxCount))
	}
	if c.MaxSize < 0 || c.MaxSize > maxCount {
		return fmt.Errorf("max-size is %d, expected 1 to %d", c.MaxSize, int64(maxCount))
	}
	if c.Length != nil && c.MaxSize > 0 && *c.Length > c.MaxSize {
		return fmt.Errorf("length is %d, which is more than max-size, %d", *c.Length, c.MaxSize)
	}
	if c.SHA256 != nil && len(c.SHA256) != 32 {
		return fmt.Errorf("sha-256 has %d bytes, expected 32", len(c.SHA256))
	}
	return nil
}

func isID(id string) bool {
	for _, c := range []byte(id) {
		if (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return len(id) >= 22 && len(id) <= 64
}

// cleanPath: no two readers of p come to different places.
func cleanPath(p string) bool {
	clean := path.Clean(p)
	if strings.HasSuffix(p, "/") && clean != "/" {
		clean += "/"
	}
	return strings.HasPrefix(p, "/") && clean == p
}

// AllowsRoute reports whether path is on the ticket's route.
func (c Claims) AllowsRoute(path string) bool {
	switch {
	case c.Route == "":
		return true
	case !cleanPath(path):
		return false
	case strings.HasSuffix(c.Route, "/"):
		return strings.HasPrefix(path, c.Route)
	}
	return path == c.Route
}

// AllowsType reports whether a media type is the ticket's, or of its kind.
// Letter case and parameters do not count.
func (c Claims) AllowsType(mediaType string) bool {
	if c.Type == "" {
		return true
	}
	got, _, err := mime.ParseMediaType(mediaType)
	if err != nil {
		return false
	}
	want := strings.ToLower(c.Type)
	if kind, all := strings.CutSuffix(want, "*"); all && strings.HasSuffix(kind, "/") {
		return strings.HasPrefix(got, kind) && len(got) > len(kind)
	}
	return got == want
}
