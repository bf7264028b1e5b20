// Package crash holds the tests that take the server, or the connection, away
// at random moments: kill -9 and cuts at random bytes. Between client and
// server stands a tap that reads along and holds both to the invariants of
// PROTOCOL.md.
package crash
