package filestore

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/wsingest/wsingest/resume"
)

// record is what a slot of a state file holds, as JSON. FORMAT.md documents
// every field.
type record struct {
	ID         resume.ID `json:"id"`
	Owner      text      `json:"owner,omitempty"`
	Name       text      `json:"name,omitempty"`
	Type       text      `json:"type,omitempty"`
	Length     int64     `json:"length"`
	Metadata   metadata  `json:"metadata,omitempty"`
	WantSHA256 bool      `json:"want_sha256,omitempty"`

	Phase   resume.Phase `json:"phase"`
	Epoch   uint64       `json:"epoch"`
	Created int64        `json:"created"`
	Updated int64        `json:"updated"`

	Extents []extent  `json:"extents,omitempty"`
	Hash    *hashMark `json:"hash,omitempty"`
	SHA256  []byte    `json:"sha256,omitempty"`
	Origin  []byte    `json:"origin,omitempty"`
	Result  []byte    `json:"result,omitempty"`
	Publish *intent   `json:"publish,omitempty"`
	Moved   text      `json:"moved,omitempty"`
}

// extent is start, end and CRC-32C.
type extent [3]int64

// hashMark is a SHA-256 under way: the state after the first Offset bytes.
type hashMark struct {
	Offset int64  `json:"offset"`
	State  []byte `json:"state"`
}

// intent is where a complete upload is being put, written down before anything
// is done there.
type intent struct {
	Path text `json:"path"`
	// Done: the file is there, durably.
	Done bool `json:"done,omitempty"`
	// Copied: it is a copy, since the part file could not get a second name.
	Copied bool `json:"copied,omitempty"`
	// Sidecar is what stands beside it, by which a later process knows it again:
	// its length and its CRC-32C.
	Sidecar *[2]int64 `json:"sidecar,omitempty"`
}

// text is a string of any bytes. JSON knows Unicode only, and owners are
// compared byte for byte: two that are not valid UTF-8 must not become one.
type text string

const rawText = "\x00base64:"

func (t text) MarshalText() ([]byte, error) {
	if utf8.ValidString(string(t)) && !strings.HasPrefix(string(t), rawText) {
		return []byte(t), nil
	}
	return base64.StdEncoding.AppendEncode([]byte(rawText), []byte(t)), nil
}

func (t *text) UnmarshalText(b []byte) error {
	s, raw := strings.CutPrefix(string(b), rawText)
	if raw {
		b, err := base64.StdEncoding.DecodeString(s)
		*t = text(b)
		return err
	}
	*t = text(s)
	return nil
}

// metadata is a map whose keys and values are text: package json takes the keys
// of a map as they are.
type metadata map[string]string

func (m metadata) MarshalJSON() ([]byte, error) {
	out := make(map[string]text, len(m))
	for k, v := range m {
		key, err := text(k).MarshalText()
		if err != nil {
			return nil, err
		}
		out[string(key)] = text(v)
	}
	return json.Marshal(out)
}

func (m *metadata) UnmarshalJSON(b []byte) error {
	var in map[string]text
	if err := json.Unmarshal(b, &in); err != nil || in == nil {
		return err
	}
	*m = make(metadata, len(in))
	for k, v := range in {
		var key text
		if err := key.UnmarshalText([]byte(k)); err != nil {
			return err
		}
		(*m)[string(key)] = string(v)
	}
	return nil
}

func (r *record) info() resume.Info {
	return resume.Info{
		ID:         r.ID,
		Owner:      string(r.Owner),
		Name:       string(r.Name),
		Type:       string(r.Type),
		Length:     r.Length,
		Metadata:   r.Metadata,
		WantSHA256: r.WantSHA256,
	}
}

func (r *record) encode() ([]byte, error) { return json.Marshal(r) }

// decodeRecord checks what it reads: a slot whose checksum is right may still
// have been written by something else.
func decodeRecord(b []byte) (*record, resume.Extents, error) {
	r := new(record)
	if err := json.Unmarshal(b, r); err != nil {
		return nil, nil, fmt.Errorf("%w: %v", ErrDamaged, err)
	}
	extents, err := r.check()
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %v", ErrDamaged, err)
	}
	return r, extents, nil
}

func (r *record) check() (resume.Extents, error) {
	if _, err := resume.ParseID(string(r.ID)); err != nil {
		return nil, err
	}
	switch r.Phase {
	case resume.Receiving, resume.Complete, resume.Delivered:
	default:
		return nil, fmt.Errorf("unknown phase %q", r.Phase)
	}
	if r.Length < resume.UnknownLength {
		return nil, fmt.Errorf("length %d", r.Length)
	}
	var x resume.Extents
	end := int64(-1)
	for _, e := range r.Extents {
		if e[0] <= end || e[0] >= e[1] || e[2] < 0 || e[2] > 1<<32-1 {
			return nil, fmt.Errorf("extent %v", e)
		}
		end = e[1]
		x = append(x, resume.Extent{Range: resume.Range{Start: e[0], End: e[1]}, CRC32C: uint32(e[2])})
	}
	switch {
	case r.Length >= 0 && end > r.Length:
		return nil, errors.New("extents reach past the length")
	case r.Phase != resume.Receiving && !x.Has(resume.Range{Start: 0, End: r.Length}):
		return nil, errors.New("complete, but bytes are missing")
	case r.Hash != nil && (r.Hash.Offset < 0 || r.Hash.Offset > x.EndFrom(0)):
		return nil, errors.New("hash reaches past the extents")
	}
	return x, nil
}

func seconds(t time.Time) int64 { return t.Unix() }

func fromSeconds(s int64) time.Time { return time.Unix(s, 0).UTC() }
