package rules

import (
	"fmt"
	"path"
	"strings"
	"unicode/utf8"
)

// Numbered returns the n-th name to try for name, of at most so many bytes:
// "a.txt", "a (1).txt", ...
func Numbered(name string, n, most int) string {
	if n == 0 && len(name) <= most {
		return name
	}
	ext := path.Ext(name)
	if stem := strings.TrimSuffix(name, ext); strings.HasSuffix(stem, ".tar") {
		ext = ".tar" + ext
	}
	if ext == name {
		ext = ""
	}
	stem, number := strings.TrimSuffix(name, ext), ""
	if n > 0 {
		number = fmt.Sprintf(" (%d)", n)
	}
	for len(stem)+len(number)+len(ext) > most {
		_, size := utf8.DecodeLastRuneInString(stem)
		if size == 0 {
			break
		}
		stem = stem[:len(stem)-size]
	}
	return stem + number + ext
}
