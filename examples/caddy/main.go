// Command caddy is Caddy with the handler ws_ingest: what xcaddy builds from
// xcaddy.txt, from the tree at hand and without xcaddy.
package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/wsingest/wsingest/caddymodule"
)

func main() { caddycmd.Main() }
