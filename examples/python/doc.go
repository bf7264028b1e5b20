// Package python holds the clients in Python, and the tests that run them
// against the server.
package python
