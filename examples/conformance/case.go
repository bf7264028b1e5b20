package main

import (
	"slices"
)

// Level is how hard PROTOCOL.md demands what a case is about.
type Level string

// The levels.
const (
	Must   Level = "MUST"
	Should Level = "SHOULD"
)

// Outcome is what a client makes of an upload.
type Outcome string

// The outcomes. A client that cannot be tried on a case says that it skips it.
const (
	Success Outcome = "success"
	Failure Outcome = "failure"
	Skipped Outcome = "skipped"
)

// either is what a case expects that leaves it to the client.
const either Outcome = ""

// Case is one situation, played against a client.
type Case struct {
	Name    string
	Must    string // what must hold, in a sentence
	Level   Level
	Section string // of PROTOCOL.md

	size    int  // of the file, in bytes
	stream  bool // the client is given a stream of unknown length
	newID   bool // the client may begin anew under another id
	expect  Outcome
	refuse  func(p *play, n int) int  // an HTTP status instead of the upgrade of connection n; 0: none
	bare    func(p *play, n int) bool // upgrade without the subprotocol
	script  func(c *conn)             // plays one connection; nil: serve
	check   func(p *play)             // at the end
	pooled  bool                      // what it is about shows over all cases only
	ticket  bool                      // the client is to be given a ticket
	lingers bool                      // what it is about shows after the client has given its verdict
}

// given is the ticket of every case. A client takes it for what it is: opaque.
const given = "wst1.grant-of-an-app.which_the_client-passes-on"

// Cases returns all of them, in the order of the checklist.
func Cases() []*Case {
	return slices.Concat(connecting(), opening(), sending(), resuming(), waiting(), finishing(), refusals())
}
