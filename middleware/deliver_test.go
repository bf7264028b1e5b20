package middleware_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/wsingest/wsingest/middleware"
	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/resume"
)

// put uploads data under name on a connection of its own and returns the
// server's last word.
func (r *rig) put(name string, data []byte) protocol.Message {
	r.t.Helper()
	p := r.full()
	o := open(resume.NewID(), int64(len(data)))
	o.Name, o.Eager = name, true
	p.Send(o)
	p.Data(data)
	p.Send(&protocol.Finish{})
	for {
		m, err := p.Recv()
		if err != nil {
			r.t.Fatal(err)
		}
		switch m.(type) {
		case *protocol.Done, *protocol.Error:
			return m
		}
	}
}

func TestAHandlerMayTakeTheFileInsteadOfCopyingIt(t *testing.T) {
	r := newRig(t, rigOptions{})
	dir := t.TempDir()
	data := content(50, 200_000)
	var inode atomic.Value
	r.app.answer = func(w http.ResponseWriter, r *http.Request, body []byte) {
		f, ok := middleware.FileFrom(r)
		if !ok || f.State.Name != "a.bin" || f.State.Length != int64(len(data)) {
			t.Errorf("FileFrom returned %+v, %v", f, ok)
		}
		info, err := os.Stat(f.Path())
		if err != nil {
			t.Error(err)
		}
		inode.Store(info)
		if err := f.Rename(filepath.Join(dir, "mine")); err != nil {
			t.Error(err)
		}
		sameBytes(t, body, data)
	}
	if m, ok := r.put("a.bin", data).(*protocol.Done); !ok {
		t.Fatalf("got %s", protocol.Encode(m))
	}
	got, err := os.ReadFile(filepath.Join(dir, "mine"))
	if err != nil {
		t.Fatal(err)
	}
	sameBytes(t, got, data)
	after, _ := os.Stat(filepath.Join(dir, "mine"))
	if !os.SameFile(inode.Load().(os.FileInfo), after) {
		t.Error("the file was copied, not moved")
	}
	if _, ok := middleware.FileFrom(&http.Request{}); ok {
		t.Error("an ordinary request is taken for an upload")
	}
}

func TestTheHandlersContextCarriesWhatTheRequestDid(t *testing.T) {
	type key struct{}
	r := newRig(t, rigOptions{under: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), key{}, "tenant-7")))
		})
	}})
	r.app.answer = func(_ http.ResponseWriter, r *http.Request, _ []byte) {
		if v := r.Context().Value(key{}); v != "tenant-7" {
			t.Errorf("the context carries %v", v)
		}
		if err := r.Context().Err(); err != nil {
			t.Errorf("the context has ended: %v", err)
		}
	}
	r.put("a", []byte("x"))
}

func TestAHandlerThatReadsNothingIsFine(t *testing.T) {
	r := newRig(t, rigOptions{})
	next := r.ingest.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(202) }))
	r.server.Config.Handler = next
	if done, ok := r.put("a", content(1, 100_000)).(*protocol.Done); !ok || done.Response.Status != 202 {
		t.Errorf("got %s", protocol.Encode(done))
	}
}

func TestTheAnswerIsKeptWithinBounds(t *testing.T) {
	for name, tc := range map[string]struct {
		body      string
		truncated bool
		binary    bool
	}{
		"short":               {"ok", false, false},
		"64 KiB":              {strings.Repeat("x", 64<<10), false, false},
		"more":                {strings.Repeat("x", 64<<10+1), true, false},
		"torn character":      {"x" + strings.Repeat("ä", 32<<10), true, false},
		"binary":              {"\xff\xfe\x00\x01", false, true},
		"grows large in JSON": {strings.Repeat("\x01", 60<<10), true, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, rigOptions{})
			r.app.answer = func(w http.ResponseWriter, _ *http.Request, _ []byte) {
				w.Header().Set("Set-Cookie", "session=secret")
				w.Header().Set("X-Custom", "yes")
				io.WriteString(w, tc.body)
			}
			done := r.put("a", []byte("x")).(*protocol.Done)
			got := done.Response.Body + string(done.Response.BodyBase64)
			if !strings.HasPrefix(tc.body, got) || len(got) == 0 || (got != tc.body) != tc.truncated || done.Response.Truncated != tc.truncated {
				t.Errorf("%d bytes of %d came back, truncated %v", len(got), len(tc.body), done.Response.Truncated)
			}
			if (done.Response.BodyBase64 != nil) != tc.binary {
				t.Errorf("binary is %v", done.Response.BodyBase64 != nil)
			}
			if h := done.Response.Headers; h["Set-Cookie"] != nil || h["X-Custom"] == nil {
				t.Errorf("headers are %v", h)
			}
		})
	}
}

func TestPublishedFilesAppearUnderSafeNames(t *testing.T) {
	dir := t.TempDir()
	r := newRig(t, rigOptions{Options: middleware.Options{Publish: &middleware.Publish{Dir: dir}}})
	names := []string{
		"plain.txt", "../../etc/passwd", "/etc/shadow", `..\..\windows\system32\cmd.exe`, "a\x00b", strings.Repeat("n", 300) + ".tar.gz",
		"CON", "nul.txt", "COM1.tar", ".", "..", "", ".htaccess", "trailing. . ", "new\nline", "e\u0301.txt", "\u202etxt.exe", "a:b|c?d*e", "dir/sub/file.bin",
	}
	seen := map[string]bool{}
	for i, name := range names {
		data := content(uint64(i), 1000+i)
		done, ok := r.put(name, data).(*protocol.Done)
		if !ok {
			t.Errorf("%q was not published", name)
			continue
		}
		if done.Location == "" || filepath.Base(done.Location) != done.Location || len(done.Location) > 255 || seen[done.Location] {
			t.Errorf("%q became %q", name, done.Location)
		}
		seen[done.Location] = true
		got, err := os.ReadFile(filepath.Join(dir, done.Location))
		if err != nil {
			t.Errorf("%q: %v", name, err)
			continue
		}
		sameBytes(t, got, data)
	}
	entries, _ := os.ReadDir(dir)
	if len(entries) != len(names) {
		t.Errorf("%d files are in the directory, expected %d", len(entries), len(names))
	}
}

func TestANameThatIsTaken(t *testing.T) {
	first, second := content(1, 1000), content(2, 2000)
	for conflict, tc := range map[resume.Conflict]struct {
		location string // of the second
		taken    []byte // what stands under the name in the end
	}{
		resume.ConflictRename:    {"a (1).txt", first},
		resume.ConflictOverwrite: {"a.txt", second},
		resume.ConflictFail:      {"", first},
	} {
		t.Run(string(conflict), func(t *testing.T) {
			dir := t.TempDir()
			r := newRig(t, rigOptions{Options: middleware.Options{Publish: &middleware.Publish{Dir: dir, OnConflict: conflict}}})
			r.put("a.txt", first)
			switch m := r.put("a.txt", second).(type) {
			case *protocol.Done:
				if m.Location != tc.location {
					t.Errorf("the second is %q, expected %q", m.Location, tc.location)
				}
				got, _ := os.ReadFile(filepath.Join(dir, m.Location))
				sameBytes(t, got, second)
			case *protocol.Error:
				if tc.location != "" || m.Code != protocol.Rejected || !strings.Contains(m.Detail, `"a.txt" exists`) {
					t.Errorf("got %s", protocol.Encode(m))
				}
			}
			got, err := os.ReadFile(filepath.Join(dir, "a.txt"))
			if err != nil {
				t.Fatal(err)
			}
			sameBytes(t, got, tc.taken)
		})
	}
}

func TestOnCompleteComesBeforeTheClientHears(t *testing.T) {
	var told atomic.Int64
	r := newRig(t, rigOptions{Options: middleware.Options{OnComplete: func(_ context.Context, st resume.State) {
		told.Store(st.Length)
	}}})
	r.put("a", content(1, 777))
	if told.Load() != 777 {
		t.Errorf("OnComplete was told of %d bytes", told.Load())
	}
}

// A store that loses the result must not lose the upload, and what the app said
// is not lost either for as long as the process lives.
func TestAResultThatCannotBeStoredIsStoredLater(t *testing.T) {
	broken := &brokenSettle{}
	r := newRig(t, rigOptions{wrap: func(s resume.Store) resume.Store { broken.Store = s; return broken }})
	broken.fail.Store(true)
	id := resume.NewID()
	p := r.full()
	p.Send(open(id, 5))
	next[*protocol.Ready](p)
	p.Data([]byte("hello"))
	p.Send(&protocol.Finish{})
	if e := fails(p, protocol.Internal); !e.Resumable {
		t.Errorf("got %s", protocol.Encode(e))
	}
	broken.fail.Store(false)
	p = r.full()
	p.Send(open(id, 5))
	next[*protocol.Ready](p)
	next[*protocol.Done](p)
	seen := r.app.seen()
	if len(seen) != 1 {
		t.Errorf("the app was called %d times", len(seen))
	}
}

type brokenSettle struct {
	resume.Store
	fail atomic.Bool
}

func (s *brokenSettle) Settle(ctx context.Context, id resume.ID, result []byte) error {
	if s.fail.Load() {
		return errors.New("the disk has a fault")
	}
	return s.Store.Settle(ctx, id, result)
}
