package protocol

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"unicode/utf8"
)

// Encode returns m as it goes onto the wire: its fields behind its type.
func Encode(m Message) []byte {
	out := bytes.NewBufferString(`{"type":"` + m.messageType() + `"`)
	head := out.Len()
	e := json.NewEncoder(out)
	e.SetEscapeHTML(false) // it would make a page of HTML six times as long
	if err := e.Encode(m); err != nil {
		// Every message is of types that marshal: strings, numbers, and those
		// with a MarshalJSON of this package, which do not fail.
		panic(fmt.Sprintf("protocol: encoding %T: %v", m, err))
	}
	p := out.Bytes()
	p = p[:len(p)-1] // the encoder ends it with a newline
	if string(p[head:]) == "{}" {
		return append(p[:head], '}')
	}
	p[head] = ','
	return p
}

// DecodeClient reads a message that a client may send. Its error says what is
// wrong and what was expected. Fields that are not known are ignored.
func DecodeClient(p []byte) (Message, error) {
	return decode(p, MaxClientMessageSize, "open, check, finish or cancel", func(typ string) Message {
		switch typ {
		case "open":
			return new(Open)
		case "check":
			return new(Check)
		case "finish":
			return new(Finish)
		case "cancel":
			return new(Cancel)
		}
		return nil
	})
}

// DecodeServer reads a message that a server may send.
func DecodeServer(p []byte) (Message, error) {
	return decode(p, MaxMessageSize, "ready, ack, done, error or goaway", func(typ string) Message {
		switch typ {
		case "ready":
			return new(Ready)
		case "ack":
			return new(Ack)
		case "done":
			return new(Done)
		case "error":
			return new(Error)
		case "goaway":
			return new(Goaway)
		}
		return nil
	})
}

func decode(p []byte, most int, expected string, empty func(typ string) Message) (Message, error) {
	if len(p) > most {
		return nil, fmt.Errorf("text message of %d bytes, expected at most %d", len(p), most)
	}
	if !utf8.Valid(p) {
		return nil, fmt.Errorf("text message %s is not UTF-8", excerpt(p))
	}
	var whole json.RawMessage
	if err := json.Unmarshal(p, &whole); err != nil || whole[0] != '{' {
		return nil, fmt.Errorf("text message %s is not a JSON object%s", excerpt(p), because(err))
	}
	typ, err := typeOf(whole)
	if err != nil {
		return nil, fmt.Errorf("text message %s: %w", excerpt(p), err)
	}
	if typ == nil {
		return nil, fmt.Errorf("text message %s has no type, expected %s", excerpt(p), expected)
	}
	m := empty(*typ)
	if m == nil {
		return nil, fmt.Errorf("message type %q is unknown, expected %s", *typ, expected)
	}
	if err := decodeInto(m, whole); err != nil {
		return nil, fmt.Errorf("message %q: %w", *typ, err)
	}
	return m, nil
}

func decodeInto(m Message, p []byte) error {
	if err := checkText(p); err != nil {
		return err
	}
	if err := checkNames(p, reflect.TypeOf(m)); err != nil {
		return err
	}
	if err := json.Unmarshal(p, m); err != nil {
		return plainly(err)
	}
	if v, ok := m.(interface{ validate() error }); ok {
		return v.validate()
	}
	return nil
}

// because says what is wrong with the syntax, if err does.
func because(err error) string {
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return fmt.Sprintf(": at byte %d: %v", syntax.Offset, syntax)
	}
	return ""
}

// plainly says a type error in the words of the protocol, not of Go.
func plainly(err error) error {
	var wrong *json.UnmarshalTypeError
	if !errors.As(err, &wrong) {
		return err
	}
	expected := "an object"
	switch wrong.Type.Kind() {
	case reflect.String:
		expected = "a string"
	case reflect.Bool:
		expected = "true or false"
	case reflect.Int, reflect.Int64:
		expected = "a whole number, without fraction and exponent"
	case reflect.Slice:
		expected = "a list"
		if wrong.Type.Elem().Kind() == reflect.Uint8 {
			expected = "a string of base64"
		}
	}
	return fmt.Errorf("field %q is of the wrong type (%s), expected %s", wrong.Field, wrong.Value, expected)
}

// excerpt quotes the beginning of p for an error.
func excerpt(p []byte) string {
	const most = 40
	if len(p) > most {
		return fmt.Sprintf("%#q...", bytes.ToValidUTF8(p[:most], []byte("?")))
	}
	return fmt.Sprintf("%#q", p)
}
