// Package browser holds the client for browsers, so that a Go server can serve
// it as it is: the modules need no build step.
package browser

import "embed"

// Modules are the ES modules, wsingest.js and element.js among them.
//
//go:embed *.js
var Modules embed.FS
