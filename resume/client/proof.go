package client

import (
	"bytes"
	"context"
	"fmt"

	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/resume"
)

// begin compares what the server has with the source, once for every Upload:
// what this process sent itself is guarded by the digest in finish.
func (t *transfer) begin(ready *protocol.Ready) error {
	if t.started {
		return nil
	}
	have, err := extents(ready.Have)
	if err != nil {
		return err
	}
	t.resumedFrom.Store(have.Size())
	t.started = true
	if r, ok := t.feed.(*retention); ok {
		r.release(ready.Offset)
		r.start(have)
		return nil
	}
	if have.End() > t.src.Size {
		return fmt.Errorf("%w: it has %d bytes, the server has some up to %d", ErrSourceChanged, t.src.Size, have.End())
	}
	for _, e := range have {
		crc, err := t.file.crcOf(e.Range)
		if err != nil {
			return err
		}
		if crc != e.CRC32C {
			return fmt.Errorf("%w: its bytes %v are not those the server has", ErrSourceChanged, e.Range)
		}
		t.sums.add(e)
	}
	return nil
}

func extents(have []protocol.Have) (x resume.Extents, err error) {
	for _, h := range have {
		if h.Range.End == nil {
			return nil, &finalError{fmt.Errorf("%w: it has a range without an end", ErrProtocol)}
		}
		x, err = x.Add(resume.Extent{Range: resume.Range{Start: h.Range.Start, End: *h.Range.End}, CRC32C: uint32(h.CRC32C)})
		if err != nil {
			return nil, &finalError{fmt.Errorf("%w: %w", ErrProtocol, err)}
		}
	}
	return x, nil
}

// finish makes the message that ends the sending, with the digests of the
// source: the server compares, and so no byte of it can be another one than
// was read here. It waits for the SHA-256, if that is wanted.
func (t *transfer) finish() (*protocol.Finish, error) {
	if err := t.src.unchanged(); err != nil {
		return nil, err
	}
	n := t.feed.known()
	crc, err := t.crc32c(n)
	if err != nil {
		return nil, err
	}
	sha, err := t.sha256()
	if err != nil {
		return nil, err
	}
	t.proof.Store(&crc)
	return &protocol.Finish{Length: &n, Digest: &protocol.Digest{CRC32C: (*protocol.CRC32C)(&crc), SHA256: sha}}, nil
}

// crc32c returns the checksum of the source. Of a file it reads what was
// neither sent nor compared: bytes that another process sent and the server
// had not yet stored when this one began.
func (t *transfer) crc32c(n int64) (uint32, error) {
	if r, ok := t.feed.(*retention); ok {
		crc, _ := r.sums()
		return crc, nil
	}
	for _, gap := range t.sums.missing(n) {
		t.gaps.Store(true)
		crc, err := t.file.crcOf(gap)
		if err != nil {
			return 0, err
		}
		t.sums.add(resume.Extent{Range: gap, CRC32C: crc})
	}
	crc, ok := t.sums.whole(n)
	if !ok {
		return 0, fmt.Errorf("the checksums of the parts do not add up to %d bytes", n)
	}
	return crc, nil
}

// sha256 returns the digest of the source, nil when it is not wanted.
func (t *transfer) sha256() ([]byte, error) {
	if r, ok := t.feed.(*retention); ok {
		_, sha := r.sums()
		return sha, nil
	}
	if t.sha == nil {
		return nil, nil
	}
	t.sha.allow(t.src.Size)
	<-t.sha.done
	return t.sha.sum, t.sha.err
}

// verify compares the server's last word with the source.
func (t *transfer) verify(ctx context.Context, r *Result) error {
	if sent := t.proof.Load(); sent == nil {
		if err := t.prove(ctx, r); err != nil {
			return err
		}
	} else if r.crc != nil && *r.crc != *sent {
		return fmt.Errorf("%w: CRC-32C %08x there, %08x here", ErrDigestMismatch, *r.crc, *sent)
	}
	if n := t.feed.known(); n >= 0 && r.Length != n {
		return fmt.Errorf("%w: it stored %d bytes of %d", ErrDigestMismatch, r.Length, n)
	}
	if !t.c.o.WantDigest {
		return nil
	}
	if r.SHA256 == nil {
		return fmt.Errorf("%w: it sent no SHA-256 to compare", ErrDigestMismatch)
	}
	sha, err := t.sha256()
	if err != nil {
		return err
	}
	if !bytes.Equal(sha, r.SHA256) {
		return fmt.Errorf("%w: SHA-256 %x there, %x here", ErrDigestMismatch, r.SHA256, sha)
	}
	return nil
}

// prove is for an upload that turned out to be finished already, by another
// process, or by another connection meanwhile: the source is read to its end
// and compared with what the server delivered.
func (t *transfer) prove(ctx context.Context, r *Result) error {
	stop := context.AfterFunc(ctx, t.feed.close)
	defer stop()
	var n int64
	var crc uint32
	var err error
	if f, ok := t.feed.(*retention); ok {
		f.start(nil)
		if n, err = f.drain(ctx); err == nil {
			crc, _ = f.sums()
		}
	} else if n = t.src.Size; n == r.Length {
		crc, err = t.file.crcOf(resume.Range{Start: 0, End: n})
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return err
	case n != r.Length:
		return fmt.Errorf("%w: it has %d bytes, the upload was finished with %d", ErrSourceChanged, n, r.Length)
	case r.crc != nil && *r.crc != crc:
		return fmt.Errorf("%w: its bytes are not those the upload was finished with", ErrSourceChanged)
	}
	return nil
}
