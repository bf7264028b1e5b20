package browser

import (
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The types in the comments are right, and make declarations for others.
func TestTypes(t *testing.T) {
	tsc, err := exec.LookPath("tsc")
	if err != nil {
		t.Fatal("no TypeScript compiler found: install it (apt-get install node-typescript), the modules are checked with it")
	}
	if out, err := exec.Command(tsc, "-p", ".", "--outDir", t.TempDir()).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestModules(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Fatal("no Node.js found: install it (apt-get install nodejs), the modules are tested with it")
	}
	if out, err := exec.Command(node, "--test", "testdata/modules.test.mjs").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// What README.md lists is what there is, and all of it.
func TestReadmeListsWhatThereIs(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	code := func(name string) string {
		p, err := fs.ReadFile(Modules, name)
		if err != nil {
			t.Fatal(err)
		}
		return string(p)
	}
	look := code("row.js") + code("element.js") + code("chart.js")
	readme := string(text)
	// The first column of the options, and what is named in the line that begins so.
	_, options, _ := strings.Cut(readme, "## Options")
	options, _, _ = strings.Cut(options, "\n\nBesides")
	rows := strings.Join(words(options, `(?m)^\| (.*?) \|`), " ")
	states, _, _ := strings.Cut(code("upload.js"), "@typedef {object} Progress")
	typed, _, _ := strings.Cut(states[strings.Index(states, "@typedef {'idle'"):], "} State")
	wanted, _, _ := strings.Cut(code("upload.js"), "// With these the server")
	wanted = wanted[strings.Index(wanted, "@typedef {object} Options"):]

	attributes, _, _ := strings.Cut(line(readme, "Attributes:"), "The property")

	for what, c := range map[string]struct{ listed, have []string }{
		"options":           {words(rows, "`(\\w+)`"), words(wanted, `@property \{.*\} \[?(\w+)`)},
		"states":            {append(words(line(options, "| `onState`"), "`([a-z]+)`"), "idle"), words(typed, `'([a-z]+)'`)},
		"attributes":        {words(attributes, "`([a-z-]+)`"), words(look, `(?:get|has)Attribute\('((?:[b-z]|a[^r])[a-z-]*)'\)`)},
		"events":            {words(line(readme, "Attributes:"), "`(upload-[a-z]+)`"), words(look, `'(upload-[a-z]+)'`)},
		"custom properties": {words(readme, "`(--ws-[a-z-]+)`"), words(code("style.js"), `(--ws-[a-z-]+)`)},
		"parts":             {words(line(readme, "Parts:"), "`([a-z]+)`"), parts(look)},
	} {
		listed, have := sorted(c.listed), sorted(c.have)
		if len(have) == 0 {
			t.Errorf("%s: none were found", what)
		}
		if !slices.Equal(listed, have) {
			t.Errorf("%s: README.md has %q, the code has %q", what, listed, have)
		}
	}
}

// line returns what stands from a word on to the end of its line.
func line(text, from string) string {
	_, rest, _ := strings.Cut(text, from)
	rest, _, _ = strings.Cut(rest, "\n")
	return rest
}

// words returns what the group of a pattern matches.
func words(text, pattern string) (found []string) {
	for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		found = append(found, m[1])
	}
	return found
}

// parts returns the CSS parts that the code gives to elements. That of a row is
// followed by its state.
func parts(code string) (found []string) {
	for _, names := range append(words(code, `make\('[a-z]+', '[a-z]+', '([a-z ]+)'\)`), words(code, "'part', ['`]([a-z ]+)")...) {
		names, _, _ = strings.Cut(names, " interrupted")
		found = append(found, strings.Fields(names)...)
	}
	return found
}

func sorted(words []string) []string {
	set := map[string]bool{}
	for _, w := range words {
		set[w] = true
	}
	return slices.Sorted(maps.Keys(set))
}
