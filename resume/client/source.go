package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"os"
	"path/filepath"
	"time"

	"github.com/wsingest/wsingest/resume"
)

// UnknownSize is the Size of a source that is read until it ends.
const UnknownSize = -1

// Source is what one upload sends: bytes, and what is to be known about them.
// Make one with [OpenFile], [FromReaderAt] or [FromReader] and fill in what
// you need. It serves one upload at a time.
type Source struct {
	// ReaderAt and Reader: exactly one is set. With a ReaderAt any byte can be
	// read again, so nothing is kept in memory, an upload can be resumed by
	// another process, and lanes are possible. A Reader is read once, in order;
	// what the server has not yet stored is kept (see Options.Retention).
	//
	// A Reader that goes with an ID of an earlier upload has to begin with the
	// same bytes: those the server has are read, compared and passed over.
	ReaderAt io.ReaderAt
	Reader   io.Reader
	// Size in bytes. UnknownSize is for a Reader only.
	Size int64

	// ID names the upload: 22 to 64 characters of A-Z a-z 0-9 _ and -, hard to
	// guess; see [resume.NewID]. Uploading under the ID of an earlier upload
	// goes on with it. Empty: a new one, or that of the state file.
	ID string
	// Name of the file, as its user knows it. The server decides what to make of
	// it.
	Name string
	// Type is the media type.
	Type string
	// Metadata goes to the server as it is: at most 8 KiB.
	Metadata map[string]string
	// Ticket is a signed grant, for servers that ask for one.
	Ticket string
	// TicketFor, if set, is asked for one when the upload is opened on another
	// connection, with its id: where connections are replaced for longer than a
	// ticket lives. It may be called from several goroutines when there are lanes. An error ends the
	// upload, which can be gone on with.
	TicketFor func(ctx context.Context, id string) (string, error)

	// StateFile is where the upload keeps what another process needs to go on
	// with it, for a ReaderAt. Empty: a file in Options.StateDir if the source
	// has a Path, else none.
	StateFile string
	// Path and ModTime identify a file beyond its content. [OpenFile] sets them.
	Path    string
	ModTime time.Time

	// OnProgress, if set, is told how far the upload is, at most ten times a
	// second and once at its end, on the goroutine that called Upload.
	OnProgress func(Progress)

	file *os.File
}

// Progress is how far an upload is, in bytes.
type Progress struct {
	Sent     int64 // handed to the network, at the most once each
	Received int64 // taken in by the server
	Durable  int64 // on the server's stable storage: never to be sent again
	Total    int64 // UnknownSize as long as the source has not ended
	// WaitingForSpace: the server has no room for what comes next, and goes on by
	// itself when it has.
	WaitingForSpace bool
}

// OpenFile opens the file at path as a source, with its Name, Type, Size and
// times. Close it after the upload. A file that is not regular, such as a pipe
// or a device, becomes a source of unknown size that is read once.
func OpenFile(path string) (*Source, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		err = &os.PathError{Op: "upload", Path: path, Err: errors.New("is a directory")}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	s := &Source{Name: filepath.Base(path), Type: mime.TypeByExtension(filepath.Ext(path)), file: f}
	if !info.Mode().IsRegular() {
		s.Reader, s.Size = f, UnknownSize
		return s, nil
	}
	s.ReaderAt, s.Size, s.ModTime = f, info.Size(), info.ModTime()
	if s.Path, err = filepath.Abs(path); err != nil {
		f.Close()
		return nil, err
	}
	return s, nil
}

// FromReaderAt makes a source of the first size bytes of r.
func FromReaderAt(r io.ReaderAt, size int64) *Source { return &Source{ReaderAt: r, Size: size} }

// FromReader makes a source of r, up to its end, or of its first size bytes
// when size is not [UnknownSize]. After a cancelled upload one Read may still
// be under way: it cannot be called back.
func FromReader(r io.Reader, size int64) *Source { return &Source{Reader: r, Size: size} }

// Close closes the file that [OpenFile] opened; of other sources it closes
// nothing.
func (s *Source) Close() error {
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}

// unchanged reports whether the file is still as it was when it was opened, as
// far as the file system tells.
func (s *Source) unchanged() error {
	if s.file == nil || s.ReaderAt == nil {
		return nil
	}
	info, err := s.file.Stat()
	if err != nil {
		return err
	}
	if info.Size() != s.Size || !info.ModTime().Equal(s.ModTime) {
		return fmt.Errorf("%w: %d bytes of %v, now %d bytes of %v", ErrSourceChanged,
			s.Size, s.ModTime.Format(time.DateTime), info.Size(), info.ModTime().Format(time.DateTime))
	}
	return nil
}

func (s *Source) validate() error {
	switch {
	case (s.ReaderAt == nil) == (s.Reader == nil):
		return errors.New("client: a Source needs either a ReaderAt or a Reader")
	case s.ReaderAt != nil && s.Size < 0:
		return fmt.Errorf("client: Source.Size is %d, expected 0 or more with a ReaderAt", s.Size)
	case s.Size < UnknownSize:
		return fmt.Errorf("client: Source.Size is %d, expected 0 or more, or UnknownSize", s.Size)
	case s.StateFile != "" && s.ReaderAt == nil:
		return errors.New("client: Source.StateFile needs a ReaderAt: a Reader cannot be read again by another process")
	}
	if s.ID != "" {
		if _, err := resume.ParseID(s.ID); err != nil {
			return fmt.Errorf("client: Source.ID: %w", err)
		}
	}
	return nil
}
