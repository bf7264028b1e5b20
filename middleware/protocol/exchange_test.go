package protocol_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/wsingest/wsingest/middleware/protocol"
)

// exchange is one of the conversations in PROTOCOL.md; its section 22 says how
// they are written.
type exchange struct {
	name    string
	options map[string]string // from the first line, such as any=window,chunk
	steps   []step
}

// step is a line of an exchange.
type step struct {
	line int    // in PROTOCOL.md
	conn string // A, B, ... ; "server" for what happens there
	verb string // ">", "<", or a word
	rest string
}

func (s step) String() string { return fmt.Sprintf("PROTOCOL.md:%d: %s%s", s.line, s.conn, s.verb) }

// examples reads PROTOCOL.md: its exchanges, and the messages that stand alone.
func examples(t *testing.T) (exchanges []exchange, messages []step) {
	t.Helper()
	p, err := os.ReadFile("PROTOCOL.md")
	if err != nil {
		t.Fatal(err)
	}
	fence := ""
	for i, line := range strings.Split(string(p), "\n") {
		if opening, ok := strings.CutPrefix(line, "```"); ok {
			fence, opening, _ = strings.Cut(opening, " ")
			if fence == "wsingest-exchange" {
				exchanges = append(exchanges, newExchange(opening))
			}
			continue
		}
		switch fence {
		case "wsingest-exchange":
			x := &exchanges[len(exchanges)-1]
			x.steps = append(x.steps, newStep(t, i+1, line))
		case "wsingest-message":
			messages = append(messages, step{line: i + 1, rest: line})
		}
	}
	if len(exchanges) == 0 || len(messages) == 0 {
		t.Fatal("PROTOCOL.md has no examples")
	}
	return exchanges, messages
}

func newExchange(opening string) exchange {
	name, options, _ := strings.Cut(opening, " ")
	x := exchange{name: name, options: map[string]string{}}
	for o := range strings.FieldsSeq(options) {
		key, value, _ := strings.Cut(o, "=")
		x.options[key] = value
	}
	return x
}

func newStep(t *testing.T, line int, text string) step {
	t.Helper()
	who, rest, ok := strings.Cut(text, " ")
	if !ok {
		t.Fatalf("PROTOCOL.md:%d: %q is no line of an exchange", line, text)
	}
	s := step{line: line, conn: who, rest: rest}
	if conn, ok := strings.CutSuffix(who, ">"); ok {
		s.conn, s.verb = conn, ">"
	} else if conn, ok := strings.CutSuffix(who, "<"); ok {
		s.conn, s.verb = conn, "<"
	} else {
		s.verb, s.rest, _ = strings.Cut(rest, " ")
	}
	return s
}

// binary returns the payload if the step sends a binary message.
func (s step) binary() (payload []byte, ok bool) {
	var text string
	if s.verb != ">" || json.Unmarshal([]byte(s.rest), &text) != nil {
		return nil, false
	}
	return []byte(text), true
}

// TestExamplesAreMessages: every message in the document decodes, and encodes
// to what stands there.
func TestExamplesAreMessages(t *testing.T) {
	exchanges, messages := examples(t)
	for _, x := range exchanges {
		for _, s := range x.steps {
			if _, ok := s.binary(); !ok && (s.verb == "<" || s.verb == ">") {
				messages = append(messages, s)
			}
		}
	}
	seen := map[string]bool{}
	for _, s := range messages {
		if strings.Contains(s.rest, `"type":"upload"`) {
			continue // the example of a type that is not known
		}
		decode := protocol.DecodeClient
		if s.verb == "<" {
			decode = protocol.DecodeServer
		}
		m, err := decode([]byte(s.rest))
		if err != nil {
			t.Errorf("%v: %v", s, err)
			continue
		}
		seen[fmt.Sprintf("%T", m)] = true
		if got, want := protocol.Encode(m), compact(t, s.rest); !bytes.Equal(got, want) {
			t.Errorf("%v: encodes to\n\t%s\nbut there stands\n\t%s", s, got, want)
		}
	}
	for _, m := range []protocol.Message{
		&protocol.Open{}, &protocol.Check{}, &protocol.Finish{}, &protocol.Cancel{},
		&protocol.Ready{}, &protocol.Ack{}, &protocol.Done{}, &protocol.Error{}, &protocol.Goaway{},
	} {
		if !seen[fmt.Sprintf("%T", m)] {
			t.Errorf("PROTOCOL.md has no example of %T", m)
		}
	}
}

func compact(t *testing.T, s string) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := json.Compact(&b, []byte(s)); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
