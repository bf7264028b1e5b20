package caddymodule_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wsingest/wsingest/resume/client"
)

const modulePath = "github.com/wsingest/wsingest"

// TestXcaddyBuildsACaddyThatTakesUploads builds with the arguments of
// xcaddy.txt, and the tree at hand in the place of the published module, and
// has what came out do the whole: a file over TLS, through a site of two lines,
// as one POST to an app that knows nothing of it.
func TestXcaddyBuildsACaddyThatTakesUploads(t *testing.T) {
	if testing.Short() {
		t.Skip("another Caddy is built, and the same under the race detector")
	}
	size := int64(64 << 20)
	if long {
		size = 1 << 30
	}
	built := xcaddyBuild(t)
	modules, err := exec.Command(built, "list-modules").Output()
	for _, want := range []string{"http.handlers.ws_ingest", "http.ws_ingest.stores.file", "admin.api.ws_ingest"} {
		if err != nil || !slices.Contains(strings.Fields(string(modules)), want) {
			t.Fatalf("the module %s is not listed (%v)", want, err)
		}
	}
	swap(t, &caddyBinary, built)

	b := newBackend(t)
	s := startServer(t, fmt.Sprintf("https://localhost:{{port}} {\n\tws_ingest /upload/*\n\treverse_proxy %s\n}\n", b.addr()))
	s.trusting() // waits for the CA
	file, digest := makeFile(t, size)
	wsput := exec.Command(buildWsput(t), "-digest", "-json", "-state-dir", "", "-type", "video/mp4", "-cacert", s.rootCA(), file, "https://localhost:"+s.port+"/upload/")
	out, err := wsput.Output()
	if err != nil {
		t.Fatalf("wsput: %v\n%s\n%s", err, out, exitError(err))
	}
	if !strings.Contains(string(out), fmt.Sprintf("took %d", size)) || !strings.Contains(string(out), "201") {
		t.Errorf("wsput printed %s, expected the app's answer in it", out)
	}
	seen := b.seen()
	if len(seen) != 1 {
		t.Fatalf("the app got %d requests, expected 1", len(seen))
	}
	got := seen[0]
	if got.method != http.MethodPost || got.length != size || got.kind != "video/mp4" || got.digest != digest || !strings.HasPrefix(got.header.Get("Repr-Digest"), "sha-256=:") {
		t.Errorf("the app got %+v, expected a POST of %d bytes with SHA-256 %s", got, size, digest)
	}
	// A client that trusts another CA gets nowhere: the TLS above was real.
	if _, err := put(deadline(t), "https://localhost:"+s.port+"/upload/", file, client.Options{Retry: client.Retry{MaxTries: 1}}); err == nil {
		t.Error("the upload went over TLS that nobody had checked")
	}
}

func swap[T any](t *testing.T, v *T, to T) {
	was := *v
	*v = to
	t.Cleanup(func() { *v = was })
}

// xcaddyBuild runs `xcaddy build $(cat xcaddy.txt)` with the local tree.
func xcaddyBuild(t *testing.T) (binary string) {
	t.Helper()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	xcaddy := filepath.Join(dir, "xcaddy")
	run(t, "../examples/caddy/xcaddy", nil, "go", "build", "-o", xcaddy, "github.com/caddyserver/xcaddy/cmd/xcaddy")
	binary = filepath.Join(dir, "caddy")
	proxy := unpublished(t)
	run(t, dir, []string{"GOPROXY=" + proxy, "GOFLAGS=-mod=mod", "GOWORK=off"},
		"sh", "-c", `"$0" build $(cat "$1") --replace "$2" --output "$3"`, xcaddy, filepath.Join(root, "xcaddy.txt"), modulePath+"="+root, binary)
	return binary
}

func buildWsput(t *testing.T) (binary string) {
	t.Helper()
	binary = filepath.Join(t.TempDir(), "wsput")
	run(t, "..", nil, "go", "build", "-o", binary, "./examples/wsput")
	return binary
}

func run(t *testing.T, dir string, env []string, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", filepath.Base(name), strings.Join(args, " "), err, tail(string(out), 30))
	}
}

// unpublished is a Go module proxy for which this module was never published:
// some proxies answer 403 for what they do not know, which ends the build,
// where 404 has Go take the tree it is told to. All else comes out of the
// module cache, or from the proxy that is configured.
func unpublished(t *testing.T) (url string) {
	t.Helper()
	env := func(key string) string {
		out, err := exec.Command("go", "env", key).Output()
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(out))
	}
	cache := filepath.Join(env("GOMODCACHE"), "cache", "download")
	upstream := strings.FieldsFunc(env("GOPROXY"), func(r rune) bool { return r == ',' || r == '|' })
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		file := filepath.Join(cache, filepath.FromSlash(r.URL.Path))
		info, err := os.Stat(file)
		switch {
		case strings.HasPrefix(r.URL.Path, "/"+path.Dir(modulePath)+"/"):
			http.NotFound(w, r)
		case err == nil && info.Mode().IsRegular() && !strings.HasSuffix(r.URL.Path, "/list"):
			http.ServeFile(w, r, file)
		case len(upstream) > 0 && strings.HasPrefix(upstream[0], "http"):
			http.Redirect(w, r, strings.TrimSuffix(upstream[0], "/")+r.URL.Path, http.StatusFound)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(proxy.Close)
	return proxy.URL
}

// TestXcaddyTakesTheVersionWeTest: the Caddy of xcaddy.txt is that of go.mod.
func TestXcaddyTakesTheVersionWeTest(t *testing.T) {
	arguments, err := os.ReadFile("../xcaddy.txt")
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Version}}", "github.com/caddyserver/caddy/v2").Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(arguments)), "\n")
	if want := []string{strings.TrimSpace(string(out)), "--with", modulePath + "/caddymodule"}; !slices.Equal(lines, want) {
		t.Errorf("xcaddy.txt says %q, expected %q", lines, want)
	}
}
