// Package caddymodule makes Caddy take uploads over WebSocket: the handler
// ws_ingest in front of any other handler of a route, which then gets finished
// files as ordinary requests.
//
//	example.com {
//		ws_ingest /upload/*
//		reverse_proxy app:8080
//	}
//
// It holds configuration and what Caddy expects of a module; uploads are the
// business of package middleware. README.md is the page for whoever writes the
// Caddyfile.
package caddymodule
