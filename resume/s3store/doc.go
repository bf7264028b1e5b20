// Package s3store keeps uploads in a bucket of S3 or of a store that speaks
// its protocol, where any of several nodes can go on with them. The bucket is
// all that the nodes share.
//
// Bytes go up as parts of a multipart upload while they arrive, without a local
// disk. What does not fill a part when somebody has to know that it is safe is
// written as an object of its own, and becomes a part of a part later. A small
// JSON record per upload says what is durable. Every change of it is a write
// with a condition, so that of two nodes which hold one upload the older finds
// out: its claims end with resume.ErrSuperseded, and nothing it sent after that
// counts. FORMAT.md describes what is in the bucket.
package s3store
