// Command nodes is Caddy with the handler ws_ingest and its store s3.
package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/wsingest/wsingest/caddymodule"
	_ "github.com/wsingest/wsingest/caddymodule/s3"
)

func main() { caddycmd.Main() }
