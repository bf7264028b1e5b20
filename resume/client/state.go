package client

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/wsingest/wsingest/resume"
)

// stateFile is what another process needs to go on with an upload. It is
// written before the first byte is sent and removed when the upload has ended.
// It says nothing of how far the upload is: that is the server's to say.
type stateFile struct {
	path string

	Version     int       `json:"version"` // 1
	ID          string    `json:"id"`
	URL         string    `json:"url"`
	Path        string    `json:"path,omitempty"` // of the source
	Size        int64     `json:"size"`
	ModTime     time.Time `json:"mtime,omitzero"`
	Fingerprint string    `json:"fingerprint"` // CRC-32C of the first and the last 64 KiB
}

// fingerprintSize is how much of either end of a file the fingerprint covers.
const fingerprintSize = 64 << 10

// syncStateFrom is the size of a source from which its state is worth the trip
// to the disk that makes it outlive a power cut.
const syncStateFrom = 16 << 20

// statePath returns where the state of an upload belongs, or "" for nowhere.
func statePath(url string, s *Source, dir string) string {
	if s.StateFile != "" || s.ReaderAt == nil || dir == "" || s.Path == "" {
		return s.StateFile
	}
	sum := sha256.Sum256([]byte(url + "\x00" + s.Path))
	return filepath.Join(dir, hex.EncodeToString(sum[:16])+".json")
}

// describe makes the state of an upload that begins now.
func describe(path, url string, f *fileFeed) (*stateFile, error) {
	s := f.src
	head, err := f.crcOf(resume.Range{Start: 0, End: min(s.Size, fingerprintSize)})
	if err != nil {
		return nil, err
	}
	tail, err := f.crcOf(resume.Range{Start: max(0, s.Size-fingerprintSize), End: s.Size})
	if err != nil {
		return nil, err
	}
	return &stateFile{path: path, Version: 1, ID: s.ID, URL: url, Path: s.Path, Size: s.Size,
		ModTime: s.ModTime, Fingerprint: fmt.Sprintf("crc32c:%08x-%08x", head, tail)}, nil
}

// load reads the state that an earlier upload left, nil if there is none.
func (now *stateFile) load() (*stateFile, error) {
	b, err := os.ReadFile(now.path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(b) == 0 {
		return nil, nil // empty: the machine went down before the file was on the disk
	}
	if err != nil {
		return nil, err
	}
	old := &stateFile{path: now.path}
	if err := json.Unmarshal(b, old); err != nil {
		return nil, fmt.Errorf("state file %s: %w (remove it to upload anew)", now.path, err)
	}
	if old.Version != 1 {
		return nil, fmt.Errorf("state file %s has version %d, expected 1 (remove it to upload anew)", now.path, old.Version)
	}
	if _, err := resume.ParseID(old.ID); err != nil {
		return nil, fmt.Errorf("state file %s: %w (remove it to upload anew)", now.path, err)
	}
	return old, nil
}

// sameSource compares what is cheap to compare, before a server is asked. The
// time of the last change alone proves nothing either way.
func (now *stateFile) sameSource(old *stateFile) error {
	switch {
	case old.Size != now.Size:
		return fmt.Errorf("%w: it had %d bytes, now %d", ErrSourceChanged, old.Size, now.Size)
	case old.Fingerprint != now.Fingerprint:
		return fmt.Errorf("%w: its first or last bytes are others", ErrSourceChanged)
	}
	return nil
}

// save writes the file whole or not at all.
func (now *stateFile) save() error {
	b, err := json.MarshalIndent(now, "", "  ")
	if err != nil {
		return err
	}
	dir := filepath.Dir(now.path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, filepath.Base(now.path)+".*.tmp")
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	if err == nil && now.Size > syncStateFrom {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), now.path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

func (now *stateFile) remove() {
	if now != nil {
		os.Remove(now.path)
	}
}
