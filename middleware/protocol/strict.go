package protocol

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"unicode/utf16"
	"unicode/utf8"
)

// MaxDepth bounds how deep the objects and lists of a message nest, unknown
// fields included.
const MaxDepth = 16

// Package encoding/json forgives what two implementations read differently:
// of a name that stands twice it takes the last, it matches names whatever
// their case, and it puts U+FFFD where text is not Unicode. The functions here
// refuse all three before it gets to see the message (RFC 8259, sections 4 and
// 8, leaves them open; RFC 7493 closes them as is done here). All of them take
// JSON that is known to be well-formed.

// checkText refuses half a surrogate pair in an escape. A backslash stands in
// strings only, and its escape is whole.
func checkText(p []byte) error {
	for i := 0; ; i += 2 {
		next := bytes.IndexByte(p[i:], '\\')
		if next < 0 {
			return nil
		}
		i += next
		if p[i+1] != 'u' || !utf16.IsSurrogate(escaped(p[i:])) {
			continue
		}
		if rest := p[i+6:]; len(rest) < 6 || rest[0] != '\\' || rest[1] != 'u' ||
			utf16.DecodeRune(escaped(p[i:]), escaped(rest)) == utf8.RuneError {
			return fmt.Errorf("%s is half a surrogate pair, expected text that is Unicode", p[i:i+6])
		}
		i += 10
	}
}

// escaped returns the code unit of the escape \uXXXX that p starts with.
func escaped(p []byte) rune {
	n, _ := strconv.ParseUint(string(p[2:6]), 16, 16)
	return rune(n)
}

// checkNames refuses a name that stands twice in an object, one that differs
// from a known name in case only, and an object without a field it must have.
// The known fields are those of the struct type t; those without "omitempty"
// are the ones that must be there.
func checkNames(p []byte, t reflect.Type) error {
	w := walk{p: p}
	_, err := w.value(t, "", 0)
	return err
}

// walk goes through a JSON text from value to value.
type walk struct {
	p []byte
	i int
}

// next passes over white space and what separates values, and returns the byte
// that follows.
func (w *walk) next() byte {
	for {
		switch c := w.p[w.i]; c {
		case ' ', '\t', '\r', '\n', ',', ':':
			w.i++
		default:
			return c
		}
	}
}

// text passes over a string and returns what it says.
func (w *walk) text() string {
	start := w.i
	plain := true
	for w.i++; w.p[w.i] != '"'; w.i++ {
		if w.p[w.i] == '\\' {
			plain = false
			w.i++
		}
	}
	w.i++
	quoted := w.p[start:w.i]
	if plain {
		return string(quoted[1 : len(quoted)-1])
	}
	var s string
	json.Unmarshal(quoted, &s) // well-formed
	return s
}

// value passes over a value and reports whether it was something else than
// null. path leads to it, "" at the top; t is nil where nothing is known.
func (w *walk) value(t reflect.Type, path string, depth int) (there bool, err error) {
	switch c := w.next(); c {
	case '"':
		w.text()
		return true, nil
	case '{', '[':
		if depth++; depth > MaxDepth {
			return false, fmt.Errorf("nested too deep, expected at most %d objects and lists within each other", MaxDepth)
		}
		for t != nil && t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		w.i++
		if c == '{' {
			err = w.object(t, path, depth)
		} else {
			for err == nil && w.next() != ']' {
				_, err = w.value(elem(t, reflect.Slice), path, depth)
			}
		}
		w.i++ // the closing bracket
		return true, err
	default: // a number, true, false or null
		for w.i < len(w.p) && !strings.ContainsRune(" \t\r\n,]}", rune(w.p[w.i])) {
			w.i++
		}
		return c != 'n', nil
	}
}

func (w *walk) object(t reflect.Type, path string, depth int) error {
	known := fieldsOf(t)
	there := make(map[string]bool, len(known)+1) // by name: whether its value was other than null
	for w.next() != '}' {
		name := w.text()
		if _, twice := there[name]; twice {
			return fmt.Errorf("field %q stands twice, expected once", path+name)
		}
		of := elem(t, reflect.Map)
		if path == "" && name != "type" && strings.EqualFold(name, "type") {
			return fmt.Errorf(`field %q, expected "type": names are case-sensitive`, name)
		}
		for _, f := range known {
			if f.name == name {
				of = f.typ
			} else if strings.EqualFold(f.name, name) {
				return fmt.Errorf("field %q, expected %q: names are case-sensitive", path+name, path+f.name)
			}
		}
		within := ""
		if c := w.next(); c == '{' || c == '[' {
			within = path + name + "."
		}
		value, err := w.value(of, within, depth)
		if err != nil {
			return err
		}
		there[name] = value
	}
	for _, f := range known {
		if f.required && !there[f.name] {
			return fmt.Errorf("field %q is missing", path+f.name)
		}
	}
	return nil
}

// elem returns the type of t's elements if t is of the kind given, else nil.
func elem(t reflect.Type, kind reflect.Kind) reflect.Type {
	if t == nil || t.Kind() != kind {
		return nil
	}
	return t.Elem()
}

type field struct {
	name     string
	typ      reflect.Type
	required bool
}

var knownFields sync.Map // of reflect.Type to []field

// fieldsOf returns the fields that t has in JSON, nil if t is no struct.
func fieldsOf(t reflect.Type) []field {
	if t == nil || t.Kind() != reflect.Struct {
		return nil
	}
	if fields, ok := knownFields.Load(t); ok {
		return fields.([]field)
	}
	var fields []field
	for i := range t.NumField() {
		f := t.Field(i)
		if tag, ok := f.Tag.Lookup("json"); ok {
			name, options, _ := strings.Cut(tag, ",")
			fields = append(fields, field{name, f.Type, options != "omitempty"})
		}
	}
	knownFields.Store(t, fields)
	return fields
}

// typeOf returns the member "type" of an object, nil if it has none that is a
// string.
func typeOf(p []byte) (typ *string, err error) {
	w := walk{p: p}
	w.next()
	for w.i++; w.next() != '}'; {
		if w.text() == "type" {
			if w.next() != '"' {
				return nil, nil
			}
			return new(w.text()), nil
		}
		if _, err := w.value(nil, ".", 1); err != nil {
			return nil, err
		}
	}
	return nil, nil
}
