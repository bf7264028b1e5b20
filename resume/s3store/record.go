package s3store

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/wsingest/wsingest/resume"
)

// ErrDamaged: a record in the bucket is not one this package wrote.
var ErrDamaged = errors.New("damaged upload record")

// record is the object that says what is durable of an upload. FORMAT.md
// documents every field. Strings of any bytes are kept as base64.
type record struct {
	ID   resume.ID `json:"id"`
	Rev  string    `json:"rev"`  // made anew for every write
	Node string    `json:"node"` // the store that wrote it
	Gone bool      `json:"gone,omitempty"`

	Owner      []byte      `json:"owner,omitempty"`
	Name       []byte      `json:"name,omitempty"`
	Type       []byte      `json:"type,omitempty"`
	Length     int64       `json:"length"`
	Metadata   [][2][]byte `json:"metadata,omitempty"`
	WantSHA256 bool        `json:"want_sha256,omitempty"`

	Phase   resume.Phase `json:"phase"`
	Epoch   uint64       `json:"epoch"`
	Created int64        `json:"created"`
	Updated int64        `json:"updated"`

	PartSize int64      `json:"part_size"`
	Growing  bool       `json:"growing,omitempty"`
	Extents  []extent   `json:"extents,omitempty"`
	Objects  []object   `json:"objects,omitempty"`
	Parts    *multipart `json:"parts,omitempty"`
	Hash     *hashMark  `json:"hash,omitempty"`
	SHA256   []byte     `json:"sha256,omitempty"`
	Origin   []byte     `json:"origin,omitempty"`
	Result   []byte     `json:"result,omitempty"`
	Publish  *published `json:"publish,omitempty"`
	Lease    *lease     `json:"lease,omitempty"`
}

// extent is start, end and CRC-32C.
type extent [3]int64

// object holds bytes of an upload. Its key is never written twice.
type object struct {
	Key    string  `json:"key"`
	Size   int64   `json:"size"`
	Pieces []piece `json:"pieces"`
}

// piece is a range of the upload that lies at Off of an object. There may be a
// thousand, so that a record has them as start, end and off without names.
type piece struct{ Start, End, Off int64 }

func (p piece) MarshalJSON() ([]byte, error) {
	return json.Marshal([3]int64{p.Start, p.End, p.Off})
}

func (p *piece) UnmarshalJSON(b []byte) error {
	var n [3]int64
	err := json.Unmarshal(b, &n)
	*p = piece{Start: n[0], End: n[1], Off: n[2]}
	return err
}

// multipart is the multipart upload under way. Its parts that count are those
// named here, from the first to the last of each pair.
type multipart struct {
	Key      string   `json:"key"`
	UploadID string   `json:"upload_id"`
	Have     [][2]int `json:"have,omitempty"`
}

// hashMark is a SHA-256 under way: the state after the first Offset bytes.
type hashMark struct {
	Offset int64  `json:"offset"`
	State  []byte `json:"state"`
}

func (r *record) setInfo(i resume.Info) {
	r.ID, r.Length, r.WantSHA256 = i.ID, i.Length, i.WantSHA256
	r.Owner, r.Name, r.Type = []byte(i.Owner), []byte(i.Name), []byte(i.Type)
	r.Metadata = nil
	for k, v := range i.Metadata {
		r.Metadata = append(r.Metadata, [2][]byte{[]byte(k), []byte(v)})
	}
}

func (r *record) info() resume.Info {
	i := resume.Info{
		ID: r.ID, Owner: string(r.Owner), Name: string(r.Name), Type: string(r.Type),
		Length: r.Length, WantSHA256: r.WantSHA256,
	}
	if r.Metadata != nil {
		i.Metadata = make(map[string]string, len(r.Metadata))
		for _, kv := range r.Metadata {
			i.Metadata[string(kv[0])] = string(kv[1])
		}
	}
	return i
}

func (r *record) extents() (x resume.Extents) {
	for _, e := range r.Extents {
		x = append(x, resume.Extent{Range: resume.Range{Start: e[0], End: e[1]}, CRC32C: uint32(e[2])})
	}
	return x
}

func (r *record) setExtents(x resume.Extents) {
	r.Extents = nil
	for _, e := range x {
		r.Extents = append(r.Extents, extent{e.Start, e.End, int64(e.CRC32C)})
	}
}

// state is the record as one who claims nothing sees it.
func (r *record) state(o Options) resume.State {
	x := r.extents()
	st := resume.State{
		Info: r.info(), Phase: r.Phase, Epoch: r.Epoch, Durable: x, Received: x,
		SHA256: r.SHA256, Origin: r.Origin, Result: r.Result,
		Created: fromSeconds(r.Created), Updated: fromSeconds(r.Updated),
	}
	if d := o.expiry(st.Phase); d >= 0 {
		st.Expires = st.Updated.Add(d)
	}
	return st
}

func decodeRecord(b []byte, id resume.ID) (*record, error) {
	r := new(record)
	err := json.Unmarshal(b, r)
	if err == nil {
		err = r.check(id)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return r, nil
}

func (r *record) check(id resume.ID) error {
	if r.ID != id {
		return fmt.Errorf("it is that of upload %s", r.ID)
	}
	if !slices.Contains([]resume.Phase{resume.Receiving, resume.Complete, resume.Delivered}, r.Phase) {
		return fmt.Errorf("unknown phase %q", r.Phase)
	}
	if r.Length < resume.UnknownLength || r.PartSize < 1 || r.PartSize > maxPart {
		return fmt.Errorf("length %d, part size %d", r.Length, r.PartSize)
	}
	end := int64(-1)
	for _, e := range r.Extents {
		if e[0] <= end || e[0] >= e[1] || e[2] < 0 || e[2] > 1<<32-1 {
			return fmt.Errorf("extent %v", e)
		}
		end = e[1]
	}
	x := r.extents()
	switch {
	case r.Length >= 0 && end > r.Length:
		return errors.New("extents reach past the length")
	case r.Phase != resume.Receiving && !x.Has(resume.Range{Start: 0, End: r.Length}):
		return errors.New("complete, but bytes are missing")
	case r.Hash != nil && (r.Hash.Offset < 0 || r.Hash.Offset > x.EndFrom(0)):
		return errors.New("hash reaches past the extents")
	}
	return nil
}

func now() time.Time { return fromSeconds(time.Now().Unix()) }

func fromSeconds(s int64) time.Time { return time.Unix(s, 0).UTC() }
