package middleware_test

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"testing"
	"time"

	"github.com/wsingest/wsingest/middleware"
	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/resume"
)

// A published file and the folders that were made for it have the mode that was
// asked for, whatever the process's umask says; what is known of the upload
// stands beside it.
func TestPublishedFilesHaveTheirModeAndASidecar(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("NOT TESTED: Windows has no modes")
	}
	for _, c := range []struct{ mode, file, folder os.FileMode }{
		{0, 0o600, 0o700}, {0o640, 0o640, 0o750}, {0o664, 0o664, 0o775}, {0o400, 0o400, 0o700},
	} {
		dir := t.TempDir()
		r := newRig(t, rigOptions{Options: middleware.Options{Publish: &middleware.Publish{
			Dir: dir, Mode: c.mode, Sidecar: true,
			Path: func(_ *http.Request, st resume.State) (string, error) { return "alice/2026/" + st.Name, nil },
		}}})
		began := time.Now().Truncate(time.Second)
		for _, name := range []string{"a.txt", "a.txt.upload.json"} {
			p := r.full()
			p.Send(&protocol.Open{ID: string(resume.NewID()), Name: name, Type: "text/plain", Metadata: map[string]string{"album": "3"}, WantDigest: protocol.SHA256})
			next[*protocol.Ready](p)
			p.Data([]byte("data"))
			p.Send(&protocol.Finish{})
			done := next[*protocol.Done](p)
			path := filepath.Join(dir, filepath.FromSlash(done.Location))
			for at, want := range map[string]os.FileMode{
				path: c.file, path + resume.SidecarSuffix: c.file,
				filepath.Dir(path): c.folder | os.ModeDir, filepath.Join(dir, "alice"): c.folder | os.ModeDir,
			} {
				if info, err := os.Stat(at); err != nil || info.Mode() != want {
					t.Errorf("%s has mode %v, expected %v (%v)", at, info.Mode(), want, err)
				}
			}
			var got middleware.Sidecar
			b, err := os.ReadFile(path + resume.SidecarSuffix)
			if err == nil {
				err = json.Unmarshal(b, &got)
			}
			if err != nil || got.Created.Before(began) || got.Published.Before(got.Created) || time.Since(got.Published) < 0 {
				t.Errorf("the sidecar is %s (%v)", b, err)
			}
			got.Created, got.Published = time.Time{}, time.Time{}
			want := middleware.Sidecar{
				ID: done.ID, Name: name, Type: "text/plain", Length: 4, SHA256: hex.EncodeToString(sum([]byte("data"))),
				CRC32C: fmt.Sprintf("%08x", resume.UpdateCRC32C(0, []byte("data"))), Metadata: map[string]string{"album": "3"},
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("the sidecar says %+v, expected %+v", got, want)
			}
		}
		if names, _ := filepath.Glob(filepath.Join(dir, "alice", "2026", "*")); len(names) != 4 {
			t.Errorf("there are %v, expected two files and two sidecars", names)
		}
		if hidden, _ := filepath.Glob(filepath.Join(dir, "*", ".wsingest*")); len(hidden) != 0 {
			t.Errorf("%v are left", hidden)
		}
	}
}
