package client

import (
	"bytes"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wsingest/wsingest/middleware/protocol"
)

// unreachable are options with which an upload is interrupted at once.
func unreachable() Options {
	o := quick()
	o.Retry.MaxTries = 1
	return o
}

func down(t *testing.T) *fake {
	return newFake(t, func(f *fake) {
		f.refuse = func(_ int, w http.ResponseWriter) bool { w.WriteHeader(http.StatusBadGateway); return true }
	})
}

func TestStateFileKeepsTheIDAndNoCredentials(t *testing.T) {
	f, path := down(t), writeFile(t, randomBytes(1000))
	o := unreachable()
	o.StateDir = filepath.Join(t.TempDir(), "made", "for", "it")
	url := strings.Replace(f.url, "ws://", "ws://me:secret@", 1)
	if _, err := UploadFile(testContext(t), url, path, o); !errors.Is(err, ErrGaveUp) {
		t.Fatal(err)
	}
	files, _ := os.ReadDir(o.StateDir)
	if len(files) != 1 {
		t.Fatalf("%d state files", len(files))
	}
	name := filepath.Join(o.StateDir, files[0].Name())
	before, _ := os.ReadFile(name)
	if bytes.Contains(before, []byte("secret")) {
		t.Errorf("it holds the password: %s", before)
	}
	if _, err := UploadFile(testContext(t), f.url, path, o); !errors.Is(err, ErrGaveUp) {
		t.Fatal(err)
	}
	if after, _ := os.ReadFile(name); !bytes.Equal(before, after) {
		t.Errorf("the second call made another of it:\n%s%s", before, after)
	}
}

func TestStateFileThatCannotBeUsedIsNamed(t *testing.T) {
	f, path := down(t), writeFile(t, randomBytes(1000))
	for name, content := range map[string]string{
		"not JSON":      "nonsense",
		"other version": `{"version":2}`,
		"bad id":        `{"version":1,"id":"x"}`,
		"other URL":     `{"version":1,"id":"aaaaaaaaaaaaaaaaaaaaaa","url":"ws://elsewhere/","size":1000}`,
	} {
		src, err := OpenFile(path)
		if err != nil {
			t.Fatal(err)
		}
		src.StateFile = filepath.Join(t.TempDir(), "state.json")
		if err := os.WriteFile(src.StateFile, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err = Upload(testContext(t), f.url, src, unreachable())
		if err == nil || errors.Is(err, ErrGaveUp) || !strings.Contains(err.Error(), src.StateFile) {
			t.Errorf("%s: error %v", name, err)
		}
		src.Close()
	}
	if f.conns != 0 {
		t.Errorf("%d connections were made", f.conns)
	}
}

func TestStateIsRemovedWhenItIsOfNoMoreUse(t *testing.T) {
	for _, c := range []struct {
		code protocol.Code
		kept bool
	}{
		{protocol.Rejected, false},
		{protocol.MaxSizeExceeded, false},
		{protocol.Forbidden, true},
		{protocol.QuotaExceeded, true},
		{protocol.Superseded, true},
	} {
		f := newFake(t, func(f *fake) {
			f.onFinish = func(fc *fakeConn, u *fakeUpload) (bool, error) {
				e := &protocol.Error{ID: u.id, Code: c.code, Detail: "no"}
				if !e.EndsConnection() {
					fc.say(e)
					return true, nil
				}
				return true, e
			}
		})
		o := quick()
		o.StateDir = t.TempDir()
		_, err := UploadFile(testContext(t), f.url, writeFile(t, randomBytes(1000)), o)
		var server *protocol.Error
		if !errors.As(err, &server) || server.Code != c.code {
			t.Errorf("%s: error %v", c.code, err)
		}
		if left, _ := os.ReadDir(o.StateDir); (len(left) > 0) != c.kept {
			t.Errorf("%s: %d state files are left", c.code, len(left))
		}
	}
}

func TestOptionsThatMakeNoSenseAreRefused(t *testing.T) {
	for _, o := range []Options{
		{Lanes: -1}, {Lanes: MaxLanes + 1}, {Retention: 1}, {InFlight: -1}, {PingTimeout: -1},
		{Retry: Retry{MaxTries: -1}}, {HTTPClient: http.DefaultClient, TLSConfig: http.DefaultTransport.(*http.Transport).Clone().TLSClientConfig},
	} {
		_, err := New("ws://localhost/", o)
		if o.HTTPClient != nil && o.TLSConfig == nil {
			continue // nothing wrong with it
		}
		if err == nil || !strings.Contains(err.Error(), "Options.") {
			t.Errorf("%+v: error %v", o, err)
		}
	}
	for _, url := range []string{"", "localhost:8080", "ftp://localhost/", "ws://", "ws://%zz"} {
		if _, err := New(url, Options{}); err == nil {
			t.Errorf("URL %q is taken", url)
		}
	}
	r := bytes.NewReader(nil)
	for _, s := range []*Source{{}, {Reader: r, ReaderAt: r}, {ReaderAt: r, Size: -1}, {Reader: r, Size: -2}, {Reader: r, ID: "short"}, {Reader: r, StateFile: "x"}} {
		if _, err := Upload(testContext(t), "ws://localhost/", s, Options{}); err == nil || !strings.Contains(err.Error(), "Source") {
			t.Errorf("%+v: error %v", s, err)
		}
	}
}
