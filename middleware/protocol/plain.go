package protocol

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Plain is what a client without a subprotocol says, in the query of its URL.
type Plain struct {
	Open
	Digest *Digest
	// Offset is the position of the first byte the client will send; nil when
	// it did not say.
	Offset *int64
	// OffsetResume: the client reads ready first, and sends from its cursor
	// ("offset=resume").
	OffsetResume bool
	// Acks asks for acks and heartbeats while data flows ("acks=1").
	Acks bool
	// FinishOnClose: a normal close (1000) finishes the upload ("finish=close").
	FinishOnClose bool
}

// ParsePlain reads the query of u. The name defaults to the last element of
// the path. A parameter with nothing behind its "=" counts as absent; one that
// is not known is left to the app.
func ParsePlain(u *url.URL) (*Plain, error) {
	q, err := parseQuery(u.RawQuery)
	if err != nil {
		return nil, err
	}
	p := &Plain{Open: Open{
		ID:         q.Get("id"),
		Name:       q.Get("name"),
		Type:       q.Get("media-type"),
		WantDigest: q.Get("want-digest"),
		Ticket:     q.Get("ticket"),
	}}
	if p.Name == "" {
		p.Name = lastElement(u.Path)
	}
	if !utf8.ValidString(p.Name) {
		return nil, fmt.Errorf("name %q is not UTF-8: give another one with name= in the URL", p.Name)
	}
	if p.Length, err = bytesIn(q, "length"); err != nil {
		return nil, err
	}
	if q.Get("offset") == "resume" {
		p.OffsetResume = true
	} else if p.Offset, err = bytesIn(q, "offset"); err != nil {
		return nil, fmt.Errorf("%w, or \"resume\"", err)
	}
	if s := q.Get("digest"); s != "" {
		if p.Digest, err = ParseDigest(s); err != nil {
			return nil, err
		}
	}
	switch s := q.Get("acks"); s {
	case "", "0":
	case "1":
		p.Acks = true
	default:
		return nil, fmt.Errorf("acks=%q in the URL, expected 0 or 1", s)
	}
	switch s := q.Get("finish"); s {
	case "":
	case "close":
		p.FinishOnClose = true
	default:
		return nil, fmt.Errorf(`finish=%q in the URL, expected "close"`, s)
	}
	if err := p.validate(); err != nil {
		return nil, fmt.Errorf("in the URL: %w", err)
	}
	return p, nil
}

// plainParameters are the parameters of the query that belong to the protocol.
var plainParameters = []string{
	"id", "name", "media-type", "length", "offset", "digest", "want-digest", "acks", "finish", "ticket",
}

// parseQuery refuses what url.URL.Query passes over, and a parameter of ours
// that stands twice: nobody could tell which of the two counts.
func parseQuery(raw string) (url.Values, error) {
	q, err := url.ParseQuery(raw)
	if err != nil {
		return nil, fmt.Errorf("the query of the URL cannot be read: %w", err)
	}
	for _, key := range plainParameters {
		switch values := q[key]; {
		case len(values) > 1:
			return nil, fmt.Errorf("%s= stands %d times in the URL, expected once", key, len(values))
		case len(values) == 1 && !utf8.ValidString(values[0]):
			return nil, fmt.Errorf("%s=%q in the URL is not UTF-8", key, values[0])
		}
	}
	return q, nil
}

// lastElement returns what follows the last slash of an URL's path, "" if that
// cannot be a file's name.
func lastElement(p string) string {
	if strings.HasSuffix(p, "/") {
		return ""
	}
	switch base := path.Base(p); base {
	case ".", "..":
		return ""
	default:
		return base
	}
}

func bytesIn(q url.Values, key string) (*int64, error) {
	s := q.Get(key)
	if s == "" {
		return nil, nil
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if errors.Is(err, strconv.ErrSyntax) {
		return nil, fmt.Errorf("%s=%q in the URL, expected a number of bytes", key, s)
	}
	if err != nil || n > MaxPosition {
		return nil, fmt.Errorf("%s=%s in the URL, expected at most %d bytes", key, s, int64(MaxPosition))
	}
	return new(int64(n)), nil
}
