package caddymodule_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/wsingest/wsingest/caddymodule"
)

// TestAdapt holds what a Caddyfile means to the files in testdata/adapt: the
// Caddyfile, a line of dashes, and the JSON it becomes or the error it is.
// WSINGEST_UPDATE=1 writes the second part anew.
func TestAdapt(t *testing.T) {
	files, _ := filepath.Glob("testdata/adapt/*.caddyfiletest")
	if len(files) < 60 {
		t.Fatalf("only %d files found", len(files))
	}
	adapter := caddyconfig.GetAdapter("caddyfile")
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".caddyfiletest")
		t.Run(name, func(t *testing.T) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			const separator = "----------\n"
			source, want, ok := strings.Cut(string(b), separator)
			if !ok {
				t.Fatal("no separator")
			}
			result, warnings, err := adapter.Adapt([]byte(source), map[string]any{"filename": "Caddyfile"})
			if good := strings.HasPrefix(name, "good_"); good != (err == nil) {
				t.Fatalf("the error is %v", err)
			}
			got := ""
			if err != nil {
				got = err.Error() + "\n"
				if !regexp.MustCompile(`Caddyfile:\d+`).MatchString(got) {
					t.Errorf("the error names no line: %s", got)
				}
			} else {
				var indented bytes.Buffer
				json.Indent(&indented, result, "", "\t")
				got = indented.String() + "\n"
			}
			for _, w := range warnings {
				if !strings.Contains(w.Message, "formatted") {
					t.Errorf("warning: %v", w)
				}
			}
			if os.Getenv("WSINGEST_UPDATE") != "" {
				os.WriteFile(file, []byte(source+separator+got), 0o644)
				return
			}
			if got != want {
				t.Errorf("got\n%s\nexpected\n%s", got, want)
			}
		})
	}
}
