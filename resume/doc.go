// Package resume is what outlives a connection: which bytes of an upload are
// held, which of them are on stable storage, and who may write the rest.
//
// It knows bytes, and nothing of HTTP or sockets. A [Store] keeps uploads; a
// [Claim] is the right to write a range of one. Package filestore keeps
// uploads on a local disk; package storetest is the suite any other store has
// to pass.
package resume
