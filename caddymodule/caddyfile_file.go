package caddymodule

import (
	"slices"
	"strings"
)

// fileOptions are the options of deliver that are about files, in the order of
// the documentation.
var fileOptions = []string{"on_conflict", "mode", "chown", "sidecar"}

func (p *parser) fileOption(d *Deliver) error {
	switch p.name {
	case "on_conflict":
		if p.text(&d.OnConflict) != nil || !slices.Contains(conflicts, d.OnConflict) {
			return p.Errf("on_conflict %q, expected %s", d.OnConflict, strings.Join(conflicts, ", "))
		}
		return nil
	case "mode":
		if err := p.text(&d.Mode); err != nil {
			return err
		}
		if _, err := parseMode(d.Mode); err != nil {
			return p.Errf("mode %v", err)
		}
		return nil
	case "chown":
		return p.text(&d.Chown)
	}
	d.Sidecar = true
	return p.end()
}
