package resume_test

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/wsingest/wsingest/resume"
)

func TestSafeName(t *testing.T) {
	long := strings.Repeat("ä", 200)
	for name, want := range map[string]string{
		"report.pdf":                   "report.pdf",
		"":                             "upload",
		"...":                          "upload",
		" . . ":                        "upload",
		"/":                            "upload",
		`\\`:                           "upload",
		"../../etc/passwd":             "passwd",
		`..\..\windows\system32\a.dll`: "a.dll",
		`C:\Users\me\a.txt`:            "a.txt",
		"C:a.txt":                      "C_a.txt",
		"a.txt:stream":                 "a.txt_stream",
		"dir/":                         "dir",
		".bashrc":                      "bashrc",
		"a.txt.":                       "a.txt",
		"a.txt ":                       "a.txt",
		"a\x00b\nc\x7f.txt":            "abc.txt",
		"a\xff\xfeb":                   "ab",
		"invoice\u202efdp.exe":         "invoicefdp.exe",
		"a\u200bb\ufeffc":              "abc",
		"a\u2028b":                     "ab",
		"a\u00a0b":                     "a b",
		"Amelie\u0301":                 "Amelié",
		`<a>:"b"|c?*`:                  "_a___b__c__",
		"CON":                          "_CON",
		"con.txt":                      "_con.txt",
		"nul .tar.gz":                  "_nul .tar.gz",
		"COM1":                         "_COM1",
		"lpt9.log":                     "_lpt9.log",
		"COM¹.txt":                     "_COM¹.txt",
		"COM10":                        "COM10",
		"COM":                          "COM",
		"CONSOLE":                      "CONSOLE",
		"CONOUT$":                      "_CONOUT$",
		"日本語.txt":                      "日本語.txt",
		"a b (1).tar.gz":               "a b (1).tar.gz",
		"-rf":                          "-rf",
		long + ".jpeg":                 strings.Repeat("ä", 125) + ".jpeg",
		long + "." + long:              strings.Repeat("ä", 127),
		strings.Repeat("x", 300):       strings.Repeat("x", 255),
	} {
		if got := resume.SafeName(name); got != want {
			t.Errorf("SafeName(%q) = %q, want %q", name, got, want)
		}
	}
}

func FuzzSafeName(f *testing.F) {
	for _, s := range []string{
		"report.pdf", "../../etc/passwd", `C:\a`, "CON.txt", " .CON", "..", "a\u0301\u202e", "\xff/", "com¹",
		strings.Repeat("e\u0301", 200) + ".txt", strings.Repeat(".", 300), strings.Repeat("\u0301", 200), "nul" + strings.Repeat(" ", 260) + ".x",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		name := resume.SafeName(s)
		switch {
		case name == "" || len(name) > resume.MaxSafeName:
			t.Fatalf("%q has %d bytes", name, len(name))
		case !utf8.ValidString(name) || !norm.NFC.IsNormalString(name):
			t.Fatalf("%q is not UTF-8 in normal form C", name)
		case strings.ContainsAny(name, `/\<>:"|?*`) || strings.ContainsFunc(name, unicode.IsControl):
			t.Fatalf("%q has a character it must not have", name)
		case strings.Trim(name, ". ") != name:
			t.Fatalf("%q begins or ends with a dot or a space", name)
		case resume.SafeName(name) != name:
			t.Fatalf("SafeName(%q) = %q, and of that %q", s, name, resume.SafeName(name))
		}
	})
}
