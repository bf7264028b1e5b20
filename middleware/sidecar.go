package middleware

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/wsingest/wsingest/resume"
)

// Sidecar is what [Publish.Sidecar] puts beside a file.
type Sidecar struct {
	ID        string            `json:"id"`
	Owner     string            `json:"owner,omitempty"`
	Name      string            `json:"name,omitempty"` // as the client gave it: never trust it as a path
	Type      string            `json:"media-type,omitempty"`
	Length    int64             `json:"length"`
	SHA256    string            `json:"sha-256,omitempty"` // in hexadecimal, where it was computed
	CRC32C    string            `json:"crc32c"`            // in hexadecimal
	Metadata  map[string]string `json:"metadata,omitempty"`
	Created   time.Time         `json:"created"` // the upload
	Published time.Time         `json:"published"`
}

func sidecarOf(st resume.State) []byte {
	crc, _ := st.CRC32C()
	b, err := json.MarshalIndent(Sidecar{
		ID: string(st.ID), Owner: st.Owner, Name: st.Name, Type: st.Type, Length: st.Length,
		SHA256: hex.EncodeToString(st.SHA256), CRC32C: fmt.Sprintf("%08x", crc), Metadata: st.Metadata,
		Created: st.Created.UTC().Truncate(time.Second), Published: time.Now().UTC().Truncate(time.Second),
	}, "", "\t")
	if err != nil {
		panic(err) // strings and numbers alone
	}
	return append(b, '\n')
}
