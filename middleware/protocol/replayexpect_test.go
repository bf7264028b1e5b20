package protocol_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"

	"github.com/coder/websocket"

	"github.com/wsingest/wsingest/middleware/protocol"
)

// expect waits for the message of s. Acks that come before it are passed over,
// unless s is an ack: then those that are not like it are. Messages about
// other uploads are kept for their own step.
func (r *replay) expect(c *conn, s step) error {
	want, err := r.message([]byte(s.rest))
	if err != nil {
		return err
	}
	for i, p := range c.early {
		if got, _ := r.message(p); got["id"] == want["id"] {
			c.early = append(c.early[:i], c.early[i+1:]...)
			return r.same(got, want, p)
		}
	}
	for {
		_, p, err := c.ws.Read(r.ctx)
		if err != nil {
			return fmt.Errorf("did not come: %w", err)
		}
		got, err := r.message(p)
		switch {
		case err != nil:
			return err
		case got["type"] == "ack" && (want["type"] != "ack" || !reflect.DeepEqual(got, want)):
		case got["id"] != want["id"]:
			c.early = append(c.early, p)
		default:
			if want["state"] != nil {
				close(r.goOn)
			}
			return r.same(got, want, p)
		}
	}
}

func (r *replay) same(got, want map[string]any, p []byte) error {
	if !reflect.DeepEqual(got, want) {
		return fmt.Errorf("the server says\n\t%s", p)
	}
	return nil
}

// closed waits for the server to close with code. Acks may come before.
func (r *replay) closed(c *conn, code string) error {
	if len(c.early) > 0 {
		return fmt.Errorf("the server said more than stands here: %s", c.early[0])
	}
	for {
		_, p, err := c.ws.Read(r.ctx)
		if err != nil {
			if got := strconv.Itoa(int(websocket.CloseStatus(err))); got != code {
				return fmt.Errorf("the connection ended with %s (%v)", got, err)
			}
			return nil
		}
		if m, err := r.message(p); err != nil || m["type"] != "ack" {
			return fmt.Errorf("the server said more than stands here: %s", p)
		}
	}
}

// message reads a message of the server, with a placeholder in each field
// whose value may be any.
func (r *replay) message(p []byte) (map[string]any, error) {
	if _, err := protocol.DecodeServer(p); err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(p))
	d.UseNumber()
	var m map[string]any
	if err := d.Decode(&m); err != nil {
		return nil, err
	}
	r.blank(m)
	return m, nil
}

func (r *replay) blank(v any) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			r.blank(e)
		}
	case map[string]any:
		for key, e := range v {
			if r.any[key] {
				v[key] = fmt.Sprintf("any %T", e)
			} else {
				r.blank(e)
			}
		}
	}
}
