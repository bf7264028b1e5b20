package caddymodule

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/caddyserver/caddy/v2"
)

// KeyStore is a [StoreModule] in which files are objects: deliver file gives
// them keys instead of paths.
type KeyStore interface {
	StoreModule
	// PublishesKeys says so, and does nothing.
	PublishesKeys()
}

// publishesKeys reports whether the handler's store is a KeyStore.
func (h *Handler) publishesKeys() bool {
	var named struct {
		Store string `json:"store"`
	}
	if len(h.StoreRaw) == 0 || json.Unmarshal(h.StoreRaw, &named) != nil {
		return false
	}
	info, err := caddy.GetModule("http.ws_ingest.stores." + named.Store)
	if err != nil {
		return false // loading it says why
	}
	_, ok := info.New().(KeyStore)
	return ok
}

// checkKey finds what is nonsense in a File that is a key.
func (d *Deliver) checkKey() error {
	dir, rest := splitPath(d.File)
	switch {
	case strings.HasPrefix(d.File, "/") || dir == "":
		return fmt.Errorf("ws_ingest: deliver: the file %q is not a key that begins with a fixed folder, such as files/{ws_ingest.name}", d.File)
	case rest == "" || strings.HasSuffix(rest, "/"):
		return errors.New("ws_ingest: deliver: the file has no name: add one, such as {ws_ingest.name}")
	case d.Mode != "" || d.Chown != "" || d.Sidecar:
		return errors.New("ws_ingest: deliver: mode, chown and sidecar are for files, and this store makes objects: leave them out")
	}
	return nil
}
