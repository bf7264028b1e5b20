package caddymodule_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/wsingest/wsingest/middleware"
	"github.com/wsingest/wsingest/resume/client"
)

// A file belongs to whom the Caddyfile says, and so do the folder made for it
// and what stands beside it.
func TestFilesBelongToWhomTheCaddyfileSays(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: giving files away needs root")
	}
	s := startServer(t, `http://localhost:{{port}} {
	ws_ingest {
		deliver file {{dir}}/in/{http.request.header.X-User}/{ws_ingest.name} {
			mode 0640
			chown 12345:54321
			sidecar
		}
	}
}
`)
	path, digest := makeFile(t, 1<<20)
	r, err := put(deadline(t), "ws://localhost:"+s.port+"/", path, client.Options{Header: map[string][]string{"X-User": {"carol"}}, WantDigest: true})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(s.dir, "in", filepath.FromSlash(r.Location))
	sameFile(t, file, path)
	for name, mode := range map[string]os.FileMode{file: 0o640, file + ".upload.json": 0o640, filepath.Dir(file): 0o750 | os.ModeDir} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if is := info.Sys().(*syscall.Stat_t); info.Mode() != mode || is.Uid != 12345 || is.Gid != 54321 {
			t.Errorf("%s is %v of %d:%d, expected %v of 12345:54321", name, info.Mode(), is.Uid, is.Gid, mode)
		}
	}
	var about middleware.Sidecar
	b, err := os.ReadFile(file + ".upload.json")
	if err == nil {
		err = json.Unmarshal(b, &about)
	}
	if err != nil || about.SHA256 != digest || about.ID != r.ID || about.Name != "film.bin" || about.Length != 1<<20 {
		t.Errorf("beside it stands %s (%v)", b, err)
	}
}
