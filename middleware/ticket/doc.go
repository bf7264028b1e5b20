// Package ticket makes and verifies signed grants to upload. An app that knows
// who may upload what mints one with a key that it shares with the upload
// server; the client passes it on inside "open", and the server asks nobody
// else. What a ticket does not restrict is as the server has it.
//
// # Format
//
// Three parts with dots between them, all of it printable ASCII:
//
//	wst1.<claims>.<mac>
//
// claims is a JSON object in UTF-8, in base64url without padding (RFC 4648,
// section 5). mac is HMAC-SHA256 (RFC 2104) with the shared key over everything
// before the second dot, "wst1." included, in the same base64url. The key is
// bytes, 32 at least; where it is configured as text it is the bytes of that
// text in UTF-8, and nothing is decoded. A ticket has at most [MaxSize] bytes.
//
// The members of the object are those of [Claims], by the names that stand
// there. "expires" has to be there. A name that is not known, that stands
// twice, or that has a value of another type, null or "" is refused: a
// restriction that the server does not understand must not be passed over.
//
// testdata/vectors.json has tickets to test another implementation with;
// examples/tickets has ones in Python and JavaScript that were.
//
// # What a ticket is worth
//
// It is a bearer's: who has it, has its right. So it should expire soon, and
// say as much as the app knows. One with an ID is good for one upload only: a
// second use finds the upload that is there already, on any server that works on
// the same store, after any restart. For that to hold it must not live longer
// than the store remembers uploads that were delivered.
//
// A ticket only has to be valid when the upload is created. Later it is a proof
// of who made it, also when it has expired: an upload keeps its right to finish.
package ticket
