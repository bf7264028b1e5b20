package client

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/resume"
)

func TestCancelIsPromptAndLeavesTheUploadResumable(t *testing.T) {
	content := randomBytes(4 << 20)
	path, dir := writeFile(t, content), t.TempDir()
	ctx, cancel := context.WithCancel(testContext(t))
	var at time.Time
	f := newFake(t, func(f *fake) {
		f.onData = func(c *fakeConn, u *fakeUpload) error {
			if c.n == 1 && u.binary > 1<<20 {
				at = time.Now()
				cancel()
				return errHang
			}
			return nil
		}
	})
	o := quick()
	o.StateDir = dir
	_, err := UploadFile(ctx, f.url, path, o)
	if !errors.Is(err, context.Canceled) || !Resumable(err) {
		t.Fatalf("error %v", err)
	}
	if took := time.Since(at); took > 2*goodbyeTimeout {
		t.Errorf("it took %v to return", took)
	}
	r, err := UploadFile(testContext(t), f.url, path, o)
	if err != nil {
		t.Fatal(err)
	}
	if r.ResumedFrom == 0 || !bytes.Equal(f.upload().content, content) {
		t.Errorf("resumed from %d, %d bytes of content", r.ResumedFrom, len(f.upload().content))
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("state is left behind: %v", left)
	}
}

func TestChangedFileIsNotMixed(t *testing.T) {
	content := randomBytes(4 << 20)
	inDurable := bytes.Clone(content)
	inDurable[500_000] ^= 1
	atTheEnd := bytes.Clone(content)
	atTheEnd[len(content)-1] ^= 1
	for name, changed := range map[string][]byte{
		"a byte the server has": inDurable,
		"the last byte":         atTheEnd,
		"longer":                append(bytes.Clone(content), 1),
		"shorter":               content[:len(content)-1],
	} {
		path, dir := writeFile(t, content), t.TempDir()
		ctx, cancel := context.WithCancel(testContext(t))
		f := newFake(t, func(f *fake) {
			f.onData = func(_ *fakeConn, u *fakeUpload) error {
				if u.durable > 1<<20 {
					cancel()
					return errCut // or it would be through before the client has noticed
				}
				return nil
			}
		})
		o := quick()
		o.StateDir = dir
		if _, err := UploadFile(ctx, f.url, path, o); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		f.mu.Lock()
		f.onData = nil
		f.mu.Unlock()
		u := f.upload()
		if err := os.WriteFile(path, changed, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := UploadFile(testContext(t), f.url, path, o)
		if !errors.Is(err, ErrSourceChanged) || Resumable(err) {
			t.Errorf("%s: error %v", name, err)
		}
		f.mu.Lock()
		if u.finish != nil || !bytes.Equal(u.content, content[:len(u.content)]) {
			t.Errorf("%s: something of the changed file reached the upload", name)
		}
		f.mu.Unlock()
		r, err := UploadFile(testContext(t), f.url, path, o)
		if err != nil || r.ID == u.id {
			t.Errorf("%s: the next call must upload anew: %v, %v", name, r, err)
		}
	}
}

func TestFileThatChangesUnderwayIsNotFinished(t *testing.T) {
	path := writeFile(t, randomBytes(2<<20))
	var once sync.Once
	f := newFake(t, func(f *fake) {
		f.onData = func(_ *fakeConn, u *fakeUpload) error {
			once.Do(func() {
				os.WriteFile(path, randomBytes(2<<20+1), 0o600)
			})
			return nil
		}
	})
	_, err := UploadFile(testContext(t), f.url, path, quick())
	if !errors.Is(err, ErrSourceChanged) {
		t.Errorf("error %v", err)
	}
	if f.upload().finish != nil {
		t.Error("the upload was finished")
	}
}

func TestStreamUnderAKnownIDGoesOnBehindWhatTheServerHas(t *testing.T) {
	content := randomBytes(3 << 20)
	for _, same := range []bool{true, false} {
		id := string(resume.NewID())
		ctx, cancel := context.WithCancel(testContext(t))
		f := newFake(t, func(f *fake) {
			f.onData = func(_ *fakeConn, u *fakeUpload) error {
				if u.durable > 1<<20 {
					cancel()
					return errCut // or it would be through before the client has noticed
				}
				return nil
			}
		})
		src := FromReader(bytes.NewReader(content), UnknownSize)
		src.ID = id
		if _, err := Upload(ctx, f.url, src, quick()); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		again := bytes.Clone(content)
		if !same {
			again[1000] ^= 1
		}
		src = FromReader(bytes.NewReader(again), UnknownSize)
		src.ID = id
		r, err := Upload(testContext(t), f.url, src, quick())
		switch {
		case same && (err != nil || r.ResumedFrom == 0 || !bytes.Equal(f.upload().content, content)):
			t.Errorf("%+v, %v", r, err)
		case !same && !errors.Is(err, ErrSourceChanged):
			t.Errorf("error %v", err)
		}
	}
}

func TestLanesResumeInAnotherProcess(t *testing.T) {
	content := randomBytes(30 << 20)
	path, dir := writeFile(t, content), t.TempDir()
	ctx, cancel := context.WithCancel(testContext(t))
	var second atomic.Bool
	f := newFake(t, func(f *fake) {
		f.onData = func(_ *fakeConn, u *fakeUpload) error {
			if u.binary > 10<<20 && !second.Load() {
				cancel()
				return errCut // or it would be through before the client has noticed
			}
			return nil
		}
	})
	o := quick()
	o.Lanes, o.StateDir = 3, dir
	if _, err := UploadFile(ctx, f.url, path, o); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	second.Store(true)
	before := f.upload().binary
	r, err := UploadFile(testContext(t), f.url, path, o)
	if err != nil {
		t.Fatal(err)
	}
	u := f.upload()
	if !bytes.Equal(u.content, content) || r.ResumedFrom < 5<<20 || u.binary-before > int64(len(content))-5<<20 {
		t.Errorf("resumed from %d, sent %d more", r.ResumedFrom, u.binary-before)
	}
}

// The server has all of a piece, but its ack is lost with the connection: on the
// next one there is nothing to send, and so nothing that will be acknowledged.
func TestAPieceThatArrivedWithoutItsAckIsNotWaitedFor(t *testing.T) {
	content := randomBytes(20 << 20)
	var cuts atomic.Int64
	f := newFake(t, func(f *fake) {
		f.onData = func(c *fakeConn, _ *fakeUpload) error {
			if c.lane != nil && c.cursor == *c.lane.End && cuts.Add(1) < 4 {
				return errCut
			}
			return nil
		}
	})
	o := quick()
	o.Lanes = 2
	if _, err := UploadFile(testContext(t), f.url, writeFile(t, content), o); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(f.upload().content, content) || cuts.Load() < 4 {
		t.Errorf("%d cuts, or the content is another", cuts.Load())
	}
}

// The server has the whole upload, but the process that sent it did not live to
// hear so: the next one must not take the answer for one about another file.
func TestFinishedUploadIsTakenOnlyForTheSameSource(t *testing.T) {
	content := randomBytes(300_000)
	changed := bytes.Clone(content)
	changed[200_000] ^= 1
	for name, again := range map[string][]byte{"same": content, "changed": changed, "shorter": content[:299_999]} {
		for _, kind := range []string{"ReaderAt", "Reader"} {
			ctx, cancel := context.WithCancel(testContext(t))
			f := newFake(t, func(f *fake) {
				f.lag = 100_000
				f.onFinish = func(c *fakeConn, u *fakeUpload) (bool, error) {
					if ctx.Err() == nil {
						crc := protocol.CRC32C(resume.UpdateCRC32C(0, u.content))
						u.done = &protocol.Done{ID: u.id, Length: int64(len(u.content)), Digest: &protocol.Digest{CRC32C: &crc}}
						cancel()
						return true, errCut
					}
					return false, nil
				}
			})
			source := func(b []byte, id string) *Source {
				s := FromReader(io.MultiReader(bytes.NewReader(b)), UnknownSize)
				if kind == "ReaderAt" {
					s = FromReaderAt(bytes.NewReader(b), int64(len(b)))
				}
				s.ID = id
				return s
			}
			id := string(resume.NewID())
			// The first may hear of it after all, on a second connection.
			if _, err := Upload(ctx, f.url, source(content, id), quick()); err != nil && !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			r, err := Upload(testContext(t), f.url, source(again, id), quick())
			switch {
			case name == "same" && (err != nil || r.ResumedFrom != int64(len(content))):
				t.Errorf("%s, %s: %+v, %v", kind, name, r, err)
			case name != "same" && !errors.Is(err, ErrSourceChanged):
				t.Errorf("%s, %s: error %v", kind, name, err)
			}
		}
	}
}

// What one process sent and the server had not yet stored when the next one
// came is compared too, before the upload is finished.
func TestBytesReceivedButNotStoredAreNotMixed(t *testing.T) {
	content := randomBytes(4 << 20)
	changed := bytes.Clone(content)
	changed[1_200_000] ^= 1 // received by then, but not durable
	path, dir := writeFile(t, content), t.TempDir()
	ctx, cancel := context.WithCancel(testContext(t))
	f := newFake(t, func(f *fake) {
		f.lag = 1 << 20
		f.onData = func(c *fakeConn, u *fakeUpload) error {
			if c.n == 1 && u.binary > 3<<19 {
				cancel()
				return errHang
			}
			return nil
		}
	})
	o := quick()
	o.StateDir = dir
	if _, err := UploadFile(ctx, f.url, path, o); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, changed, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := UploadFile(testContext(t), f.url, path, o)
	if !errors.Is(err, ErrSourceChanged) || !errors.Is(err, ErrDigestMismatch) || f.upload().done != nil {
		t.Errorf("error %v", err)
	}
}
