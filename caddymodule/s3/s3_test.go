package s3

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
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

func parse(text string) (*Store, error) {
	s := new(Store)
	return s, s.UnmarshalCaddyfile(caddyfile.NewTestDispenser(text))
}

func TestCaddyfileBecomesOptions(t *testing.T) {
	got, err := parse(`s3 uploads {
		endpoint      https://s3.example.com
		prefix        a/
		region        eu-west-1
		access_key    {env.KEY}
		secret_key    {env.SECRET}
		part_size     16MiB
		memory        64MiB
		sync_interval 500ms
		retry_for     30s
		expire        2d
		weak
	}`)
	want := Store{
		Endpoint: "https://s3.example.com", Bucket: "uploads", Prefix: "a/", Region: "eu-west-1",
		AccessKey: "{env.KEY}", SecretKey: "{env.SECRET}", PartSize: 16 << 20, Memory: 64 << 20,
		SyncInterval: caddy.Duration(500 * time.Millisecond), RetryFor: caddy.Duration(30 * time.Second),
		Expire: caddy.Duration(48 * time.Hour), Weak: true,
	}
	if err != nil || *got != want {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := parse("s3 uploads {\n expire never\n}"); err != nil || got.Expire >= 0 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestNonsenseIsRefused(t *testing.T) {
	for _, text := range []string{
		"s3", "s3 a b", "s3 a {\n colour red\n}", "s3 a {\n endpoint\n}", "s3 a {\n endpoint a b\n}", "s3 a {\n weak yes\n}",
		"s3 a {\n part_size big\n}", "s3 a {\n memory 0\n}", "s3 a {\n retry_for -1s\n}", "s3 a {\n sync_interval soon\n}", "s3 a {\n expire 0s\n}",
	} {
		if s, err := parse(text); err == nil {
			t.Errorf("%q became %+v", text, s)
		}
	}
	for _, s := range []Store{{Bucket: "a"}, {Bucket: "a", Endpoint: "s3.example.com"}, {Bucket: "a", Endpoint: "ftp://x"}, {Bucket: "a", Endpoint: "http://x/y"}, {Endpoint: "http://x"}} {
		if err := s.Provision(caddy.Context{}); err == nil {
			t.Errorf("%+v was taken", s)
		}
	}
}

// TestReadmeHasEveryOption, and every field has a comment, which becomes the
// page on Caddy's site.
func TestReadmeHasEveryOption(t *testing.T) {
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n### Uploads in a bucket\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var rows []string
	for _, line := range regexp.MustCompile("(?m)^\\| \\*\\*`.*$").FindAllString(section, -1) {
		for _, m := range regexp.MustCompile("\\*\\*`([a-z_0-9]+)").FindAllStringSubmatch(line, -1) {
			rows = append(rows, m[1])
		}
	}
	parsed, err := goparser.ParseFile(token.NewFileSet(), "s3.go", nil, goparser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	var fields []string
	ast.Inspect(parsed, func(n ast.Node) bool {
		if f, ok := n.(*ast.Field); ok && f.Tag != nil {
			name, _, _ := strings.Cut(reflect.StructTag(strings.Trim(f.Tag.Value, "`")).Get("json"), ",")
			if len(f.Doc.Text()) < 20 {
				t.Errorf("the field %s has no comment worth the name", name)
			}
			if name != "bucket" {
				fields = append(fields, name)
			}
		}
		return true
	})
	if !slices.Equal(rows, fields) {
		t.Errorf("the table has\n%v\nthe code has\n%v", rows, fields)
	}
}
