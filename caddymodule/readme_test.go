package caddymodule

import (
	"go/ast"
	goparser "go/parser"
	"go/token"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/wsingest/wsingest/resume"
)

func readme(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestReadmeHasEveryOption: the table has the options the code has, in order.
func TestReadmeHasEveryOption(t *testing.T) {
	var rows []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z_0-9]+)").FindAllStringSubmatch(readme(t), -1) {
		rows = append(rows, m[1])
	}
	var want []string
	for _, name := range subdirectiveNames {
		want = append(want, name)
		if name == "deliver" {
			want = append(append(want, "deliver"), deliverOptions...)
		}
	}
	if !slices.Equal(rows, want) {
		t.Errorf("the table of options has\n%v\nexpected\n%v", rows, want)
	}
	if len(subdirectives) != len(subdirectiveNames) {
		t.Errorf("%d options are documented, %d are there", len(subdirectiveNames), len(subdirectives))
	}
	for _, name := range subdirectiveNames {
		if subdirectives[name] == nil {
			t.Errorf("there is no option %s", name)
		}
	}
}

// TestEveryOptionHasItsGoldenFiles: one at least with what it becomes, and one
// with a misuse.
func TestEveryOptionHasItsGoldenFiles(t *testing.T) {
	files, err := os.ReadDir("testdata/adapt")
	if err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{}
	for _, f := range files {
		kind, _, _ := strings.Cut(f.Name(), "_")
		b, _ := os.ReadFile("testdata/adapt/" + f.Name())
		source, _, _ := strings.Cut(string(b), "----------")
		for _, name := range slices.Concat(subdirectiveNames, deliverOptions) {
			if regexp.MustCompile(`(?m)^\s+` + name + `\b`).MatchString(source) {
				used[kind+" "+name] = true
			}
		}
	}
	for _, name := range slices.Concat(subdirectiveNames, deliverOptions) {
		for _, kind := range []string{"good", "bad"} {
			if !used[kind+" "+name] {
				t.Errorf("no %s golden file uses %s", kind, name)
			}
		}
	}
}

// TestReadmeHasEveryNameThatIsSeen outside: placeholders, events, metrics.
func TestReadmeHasEveryNameThatIsSeen(t *testing.T) {
	text := readme(t)
	has := func(name string) {
		t.Helper()
		if !strings.Contains(text, "`"+name+"`") {
			t.Errorf("the README does not speak of %s", name)
		}
	}
	for key := range eventData(resume.State{}) {
		if key == "metadata" {
			key = "metadata.*"
		}
		has("{ws_ingest." + key + "}")
	}
	for _, name := range eventNames {
		has(name)
	}
	has(expiredEvent)
	names := described()
	if len(names) < 9 {
		t.Errorf("only %d metrics", len(names))
	}
	for name := range names {
		has(name)
	}
}

// TestEveryFieldIsDocumented: the comments become the page on Caddy's site.
func TestEveryFieldIsDocumented(t *testing.T) {
	fields := 0
	for _, file := range []string{"handler.go", "store.go"} {
		parsed, err := goparser.ParseFile(token.NewFileSet(), file, nil, goparser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			if f, ok := n.(*ast.Field); ok && f.Tag != nil {
				tag := reflect.StructTag(strings.Trim(f.Tag.Value, "`"))
				if name, _, _ := strings.Cut(tag.Get("json"), ","); name != "" {
					fields++
					if len(f.Doc.Text()) < 20 {
						t.Errorf("%s: the field %s has no comment worth the name", file, name)
					}
				}
			}
			return true
		})
	}
	if fields < 20 {
		t.Errorf("only %d fields were found", fields)
	}
}
