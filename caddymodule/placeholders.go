package caddymodule

import (
	"encoding/hex"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/wsingest/wsingest/resume"
)

const (
	placeholderPrefix = "ws_ingest."
	metadataPrefix    = placeholderPrefix + "metadata."
)

// placeholders returns what an upload has to say, as a provider of a replacer.
func placeholders(st resume.State) caddy.ReplacerFunc {
	return func(key string) (any, bool) {
		if name, ok := strings.CutPrefix(key, metadataPrefix); ok {
			return st.Metadata[name], true
		}
		switch strings.TrimPrefix(key, placeholderPrefix) {
		case key:
			return nil, false
		case "id":
			return string(st.ID), true
		case "name":
			return st.Name, true
		case "length":
			return st.Length, true
		case "type":
			return st.Type, true
		case "sha256":
			return hex.EncodeToString(st.SHA256), true
		case "owner":
			return st.Owner, true
		case "duration":
			return time.Since(st.Created).Round(time.Millisecond).String(), true
		}
		return nil, false
	}
}

// eventData is the same, as the data of an event: its keys are the placeholders
// without the prefix.
func eventData(st resume.State) map[string]any {
	get := placeholders(st)
	data := make(map[string]any)
	for _, key := range []string{"id", "name", "length", "type", "sha256", "owner", "duration"} {
		data[key], _ = get(placeholderPrefix + key)
	}
	metadata := make(map[string]any, len(st.Metadata))
	for k, v := range st.Metadata {
		metadata[k] = v
	}
	data["metadata"] = metadata
	return data
}
