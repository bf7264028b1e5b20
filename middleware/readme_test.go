package middleware_test

import (
	"bytes"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// README.md is held to the code: what it shows compiles or runs, and its table
// of options is the options.

func TestReadmeShowsTheExample(t *testing.T) {
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, "example_test.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	shown := readmeBlock(t, "go")
	for _, d := range file.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && f.Name.Name == "serve" {
			source, err := os.ReadFile("example_test.go")
			if err != nil {
				t.Fatal(err)
			}
			want := source[set.Position(f.Pos()).Offset:set.Position(f.End()).Offset]
			if strings.TrimSpace(shown) != string(want) {
				t.Errorf("README.md shows\n%s\nexample_test.go has\n%s", shown, want)
			}
			if _, err := format.Source([]byte(shown)); err != nil {
				t.Error(err)
			}
			return
		}
	}
	t.Fatal("example_test.go has no function serve")
}

// TestReadmePlainClient runs the Python program of README.md against a server.
func TestReadmePlainClient(t *testing.T) {
	python := os.Getenv("WSINGEST_PYTHON")
	if python == "" {
		python = "/usr/bin/python3" // sees what the Makefile installs
	}
	r := newRig(t, rigOptions{})
	dir := t.TempDir()
	data := content(7, 3<<20+11)
	file, program := filepath.Join(dir, "grüße & co.bin"), filepath.Join(dir, "put.py")
	for name, text := range map[string][]byte{file: data, program: []byte(readmeBlock(t, "python"))} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(deadline(t), python, program, file, r.url)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v (does %s have the package websockets? make test installs it)\n%s", err, python, &stderr)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(lines) != 2 || !strings.Contains(lines[0], `"type":"ready"`) || !strings.Contains(lines[1], `"body":"took 3145739 bytes"`) {
		t.Errorf("the program printed\n%s", out)
	}
	seen := r.app.seen()
	if len(seen) != 1 {
		t.Fatalf("the app was called %d times, expected once", len(seen))
	}
	sameBytes(t, seen[0].body, data)
}

// TestReadmeOptions: the table names every option, in order, and the default
// that the option's comment gives.
func TestReadmeOptions(t *testing.T) {
	type row struct{ name, value string }
	var want []row
	structs := optionStructs(t)
	for _, f := range structs["Options"] {
		nested, ok := structs[strings.TrimPrefix(f.typ, "*")]
		if !ok {
			nested, f.name = []option{f}, ""
		} else {
			f.name += "."
		}
		for _, n := range nested {
			want = append(want, row{f.name + n.name, n.value})
		}
	}
	rows := readmeTable(t, "## Options")
	if len(rows) != len(want) {
		t.Errorf("the table has %d options, the code %d", len(rows), len(want))
	}
	for i := range min(len(rows), len(want)) {
		name, value := strings.Trim(rows[i][0], "`"), rows[i][1]
		if name != want[i].name {
			t.Fatalf("row %d is %s, expected %s", i+1, name, want[i].name)
		}
		if want[i].value != "" && (value == "" || !strings.HasPrefix(want[i].value, value)) {
			t.Errorf("the table says that the default of %s is %q, its comment says %q", name, value, want[i].value)
		}
	}
}

type option struct {
	name, typ string
	value     string // what its comment says of the zero value, if it does
}

// optionStructs returns the fields of the structs of options.go, by name.
func optionStructs(t *testing.T) map[string][]option {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "options.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	zero := regexp.MustCompile(`(?:^|\. )(?:0|nil|None|""): (.*)$`)
	structs := map[string][]option{}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok {
			return true
		}
		if s, ok := spec.Type.(*ast.StructType); ok {
			for _, f := range s.Fields.List {
				comment := strings.Join(strings.Fields(f.Doc.Text()), " ")
				value := ""
				if m := zero.FindStringSubmatch(comment); m != nil {
					value = m[1]
				}
				for _, name := range f.Names {
					structs[spec.Name.Name] = append(structs[spec.Name.Name], option{name.Name, typeName(f.Type), value})
				}
			}
		}
		return false
	})
	for _, name := range []string{"Options", "Bandwidth", "Keepalive", "Publish"} {
		if structs[name] == nil {
			t.Fatalf("options.go has no struct %s", name)
		}
	}
	return structs
}

func typeName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.StarExpr:
		return "*" + typeName(e.X)
	}
	return ""
}

// TestReadmeLinks: what README.md points to within the repository is there.
func TestReadmeLinks(t *testing.T) {
	text := readme(t)
	var targets []string
	for _, m := range regexp.MustCompile(`\]\(([^)]*)\)`).FindAllStringSubmatch(text, -1) {
		targets = append(targets, m[1])
	}
	for _, m := range regexp.MustCompile(`go (?:run|doc) \./(\S+)`).FindAllStringSubmatch(text, -1) {
		targets = append(targets, m[1])
	}
	for _, row := range readmeTable(t, "## Development") {
		targets = append(targets, strings.Trim(row[0], "`"))
	}
	targets = slices.DeleteFunc(targets, func(s string) bool { return strings.Contains(s, "://") })
	if len(targets) < 5 {
		t.Fatalf("found only %q: is the test still right?", targets)
	}
	for _, target := range targets {
		if _, err := os.Stat(filepath.Join("..", strings.TrimSuffix(target, "`"))); err != nil {
			t.Errorf("README.md points to %s: %v", target, err)
		}
	}
}

func readme(t *testing.T) string {
	t.Helper()
	p, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(p)
}

// readmeBlock returns the block of README.md in a language; there is one.
func readmeBlock(t *testing.T, language string) string {
	t.Helper()
	parts := strings.Split(readme(t), "```"+language+"\n")
	if len(parts) != 2 {
		t.Fatalf("README.md has %d blocks of %s, expected one", len(parts)-1, language)
	}
	block, _, _ := strings.Cut(parts[1], "```")
	return block
}

// readmeTable returns the cells of the first table under a heading, without
// its head.
func readmeTable(t *testing.T, heading string) (rows [][]string) {
	t.Helper()
	_, under, ok := strings.Cut(readme(t), heading+"\n")
	if !ok {
		t.Fatalf("README.md has no heading %q", heading)
	}
	for line := range strings.Lines(under) {
		switch {
		case strings.HasPrefix(line, "|"):
			var cells []string
			for cell := range strings.SplitSeq(strings.Trim(strings.TrimSpace(line), "|"), "|") {
				cells = append(cells, strings.TrimSpace(cell))
			}
			rows = append(rows, cells)
		case len(rows) > 0:
			return rows[2:]
		case strings.HasPrefix(line, "#"):
			t.Fatalf("README.md has no table under %q", heading)
		}
	}
	t.Fatalf("README.md has no table under %q", heading)
	return nil
}
