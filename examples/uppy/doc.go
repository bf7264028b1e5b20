// Package uppy holds the plugin for Uppy, and the tests that run it with Uppy's
// Dashboard against the server. They need Node.js and npm; nothing else here does.
package uppy
