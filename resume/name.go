package resume

import (
	"path"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// MaxSafeName is the longest name in bytes that [SafeName] returns: what the
// common file systems take.
const MaxSafeName = 255

const fallbackName = "upload"

// SafeName turns what a client calls its file into one path element that is
// safe to create on Linux, macOS and Windows, whatever the client is after. It
// never fails: a name of which nothing is left becomes "upload".
//
//   - Of a path, with slashes or backslashes, the last element is taken.
//   - Bytes that are not UTF-8, control characters, and characters that are not
//     seen or turn the reading direction around are dropped; the rest is brought
//     to Unicode's normal form C, so that names that look the same are the same.
//   - The characters <>:"|?* become "_". So a Windows drive or stream is none.
//   - Dots and spaces at both ends go: no hidden file, no "..", and nothing that
//     Windows would cut off.
//   - A device name of Windows, such as CON, or COM1.txt, gets a "_" in front.
//   - What is longer than MaxSafeName bytes is cut before its extension.
//
// SafeName(SafeName(s)) is SafeName(s).
func SafeName(name string) string {
	name = strings.ReplaceAll(name, `\`, "/")
	name = name[strings.LastIndexByte(strings.TrimRight(name, "/"), '/')+1:]
	name = strings.Map(safeRune, strings.ToValidUTF8(name, ""))
	name = shorten(trimEnds(norm.NFC.String(name)))
	if isDevice(name) { // after it was cut, which may have left no more than that
		name = shorten("_" + name)
	}
	if name == "" {
		return fallbackName
	}
	return name
}

func safeRune(r rune) rune {
	switch {
	case strings.ContainsRune(`<>:"|?*`, r):
		return '_'
	case r == '/', r == utf8.RuneError, unicode.Is(unicode.C, r), unicode.In(r, unicode.Zl, unicode.Zp):
		return -1 // C: control, format (bidi overrides, zero width), private
	case unicode.Is(unicode.Zs, r):
		return ' ' // the many spaces that are not U+0020
	}
	return r
}

func trimEnds(s string) string { return strings.Trim(s, ". ") }

// isDevice reports whether Windows takes the name for a device, which it does
// with any extension.
func isDevice(name string) bool {
	stem, _, _ := strings.Cut(name, ".")
	stem = strings.ToUpper(strings.TrimRight(stem, " "))
	switch stem {
	case "CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$", "CLOCK$":
		return true
	}
	port, isCOM := strings.CutPrefix(stem, "COM")
	if !isCOM {
		var isLPT bool
		if port, isLPT = strings.CutPrefix(stem, "LPT"); !isLPT {
			return false
		}
	}
	// Windows takes the superscripts for digits here.
	return len([]rune(port)) == 1 && strings.Contains("0123456789¹²³", port)
}

// shorten cuts the stem, and an extension that is none by its length.
func shorten(name string) string {
	if len(name) <= MaxSafeName {
		return name
	}
	ext := path.Ext(name)
	if len(ext) > 32 {
		ext = ""
	}
	return trimEnds(cut(strings.TrimSuffix(name, ext), MaxSafeName-len(ext)) + ext)
}

// cut returns at most n bytes of s, in whole characters with their accents.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !norm.NFC.PropertiesString(s[n:]).BoundaryBefore() {
		n--
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
