package protocol

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// PROTOCOL.md is what other people build on, so its tables are held to the
// code: the same fields in the same order, with the same types, the same codes,
// the same numbers.

func TestDocumentedFields(t *testing.T) {
	doc := document(t)
	for _, c := range []struct {
		heading string
		of      any
	}{
		{"5.1 open", Open{}},
		{"5.2 check", Check{}},
		{"5.3 finish", Finish{}},
		{"6.1 ready", Ready{}},
		{"6.1.1 have", Have{}},
		{"6.1.2 limits", Limits{}},
		{"6.1.3 keepalive", Keepalive{}},
		{"6.2 ack", Ack{}},
		{"6.3 done", Done{}},
		{"6.3.1 response", Response{}},
		{"6.4 error", Error{}},
		{"6.5 goaway", Goaway{}},
	} {
		var want [][]string
		for _, f := range fieldsOf(reflect.TypeOf(c.of)) {
			required := map[bool]string{true: "yes", false: "no"}[f.required]
			want = append(want, []string{"`" + f.name + "`", wireType(t, f.typ), required})
		}
		var got [][]string
		for _, row := range doc.table(t, c.heading) {
			got = append(got, row[:3])
		}
		sameRows(t, c.heading, got, want)
	}
	if reflect.TypeOf(Cancel{}).NumField() != 0 {
		t.Error("5.4 cancel says that it has no fields")
	}
}

// wireType returns the word of section 4.2 for a type of Go.
func wireType(t *testing.T, typ reflect.Type) string {
	switch typ {
	case reflect.TypeOf(Range{}):
		return "range"
	case reflect.TypeOf(CRC32C(0)):
		return "crc32c"
	case reflect.TypeOf(Digest{}):
		return "digest"
	case reflect.TypeOf([]byte{}):
		return "string"
	}
	switch typ.Kind() {
	case reflect.Pointer:
		return wireType(t, typ.Elem())
	case reflect.String:
		return "string"
	case reflect.Bool:
		return "boolean"
	case reflect.Int, reflect.Int64:
		return "integer"
	case reflect.Struct:
		return "object"
	case reflect.Slice:
		if of := wireType(t, typ.Elem()); of != "string" {
			return "list of " + of
		}
		return "list"
	case reflect.Map:
		if of := wireType(t, typ.Elem()); of != "string" {
			return "map of " + of
		}
		return "map"
	}
	t.Fatalf("%v has no word in section 4.2", typ)
	return ""
}

func TestDocumentedCodes(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "code.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var want [][]string
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if ok && fmt.Sprint(spec.Type) == "Code" {
			for _, v := range spec.Values {
				s, err := strconv.Unquote(v.(*ast.BasicLit).Value)
				if err != nil {
					t.Fatal(err)
				}
				want = append(want, []string{"`" + s + "`", strconv.Itoa(Code(s).CloseCode())})
			}
		}
		return true
	})
	if len(want) == 0 {
		t.Fatal("found no code in code.go")
	}
	var got [][]string
	for _, row := range document(t).table(t, "16. Errors and close codes") {
		got = append(got, row[:2])
	}
	sameRows(t, "16. Errors and close codes", got, want)
}

func TestDocumentedParameters(t *testing.T) {
	doc := document(t)
	var got []string
	for _, row := range doc.table(t, "15. Plain mode") {
		got = append(got, strings.Trim(row[0], "`"))
	}
	want := slices.Clone(plainParameters)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("the table of section 15 has %q, the code %q", got, want)
	}
}

func TestDocumentedNumbers(t *testing.T) {
	thousands := regexp.MustCompile(`(\d)(\d{3})(,|$)`)
	number := func(n int64) string {
		s := strconv.FormatInt(n, 10)
		for next := ""; next != s; {
			next, s = s, thousands.ReplaceAllString(s, "$1,$2$3")
		}
		return s
	}
	want := [][]string{
		{"largest text message of a client, bytes", number(MaxClientMessageSize)},
		{"largest text message of a server, bytes", number(MaxMessageSize)},
		{"largest position, length or count of bytes", number(MaxPosition)},
		{"depth of objects and lists within each other", number(MaxDepth)},
		{"credit before the first `ready`, bytes", number(InitialWindow)},
		{"`name` and `media-type`, bytes each", number(MaxNameLength)},
		{"`metadata`, bytes", number(MaxMetadataSize)},
		{"`ping-timeout-ms` when it is absent", number(DefaultPingTimeoutMS)},
		{"largest `ping-timeout-ms`", number(MaxPingTimeoutMS)},
	}
	sameRows(t, "17. Numbers", document(t).table(t, "17. Numbers"), want)
}

// TestDocumentedStates: an ack's states are named where the ack is.
func TestDocumentedStates(t *testing.T) {
	for _, row := range document(t).table(t, "6.2 ack") {
		if row[0] != "`state`" {
			continue
		}
		for _, state := range []string{StateStoring, StateVerifying, StateDelivering} {
			if !strings.Contains(row[3], "`"+state+"`") {
				t.Errorf("state %q is not in the table of 6.2", state)
			}
		}
		return
	}
	t.Error("6.2 has no row for state")
}

// TestDocumentLinks: every link within the document leads somewhere.
func TestDocumentLinks(t *testing.T) {
	text := string(document(t))
	anchors := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(text, -1) {
		plain := regexp.MustCompile(`[^a-z0-9 -]`).ReplaceAllString(strings.ToLower(m[1]), "")
		anchors["#"+strings.ReplaceAll(plain, " ", "-")] = true
	}
	links := regexp.MustCompile(`\]\((#[^)]*)\)`).FindAllStringSubmatch(text, -1)
	for _, m := range links {
		if !anchors[m[1]] {
			t.Errorf("link to %s leads nowhere", m[1])
		}
	}
	for _, m := range regexp.MustCompile(`section (\d+(\.\d+)*)`).FindAllStringSubmatchIndex(text, -1) {
		if strings.Contains(text[max(0, m[0]-12):m[0]], "RFC") {
			continue
		}
		section := regexp.MustCompile(`(?m)^#+ ` + regexp.QuoteMeta(text[m[2]:m[3]]) + `\.? `)
		if !section.MatchString(text) {
			t.Errorf("there is no section %s", text[m[2]:m[3]])
		}
	}
}

type markdown string

func document(t *testing.T) markdown {
	t.Helper()
	p, err := os.ReadFile("PROTOCOL.md")
	if err != nil {
		t.Fatal(err)
	}
	return markdown(p)
}

// table returns the cells of the first table under a heading, without its
// head.
func (doc markdown) table(t *testing.T, heading string) (rows [][]string) {
	t.Helper()
	_, under, ok := strings.Cut(string(doc), "# "+heading+"\n")
	if !ok {
		t.Fatalf("no heading %q", heading)
	}
	for line := range strings.Lines(under) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "|"):
			cells := strings.Split(strings.Trim(line, "|"), "|")
			for i := range cells {
				cells[i] = strings.TrimSpace(cells[i])
			}
			rows = append(rows, cells)
		case len(rows) > 0:
			return rows[2:]
		case strings.HasPrefix(line, "#"):
			t.Fatalf("no table under %q", heading)
		}
	}
	t.Fatalf("no table under %q", heading)
	return nil
}

func sameRows(t *testing.T, heading string, got, want [][]string) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s\n\tdocument: %q\n\tcode:     %q", heading, got, want)
	}
}
