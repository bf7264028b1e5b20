// Package client uploads files to a wsingest server, and goes on where it was
// when the connection, the server or this process was interrupted.
//
// One file takes one call:
//
//	r, err := client.UploadFile(ctx, "wss://example.org/upload/", "video.mp4", client.Options{})
//	if err != nil {
//		return err
//	}
//	log.Printf("%d bytes are at %s", r.Length, r.Location)
//
// When it returns without an error, every byte is on the server's stable
// storage, both ends have compared checksums, and whoever the server delivers
// the file to has taken it. Connections that break, stall, or end because the
// server restarts are replaced without the caller noticing; no byte that the
// server has reported as stored is sent again.
//
// # Going on in another process
//
// With Options.StateDir, or Source.StateFile, a small file remembers the ID of
// an upload until it is done. Uploading the same file to the same URL then goes
// on with it. Before it does, it proves that the file is still the same: its
// size, its ends, and the CRC-32C of every range the server holds. That reads
// from the local disk as many bytes as the server has already, at some GB/s. If
// it turns out that the upload had been finished, the whole file is read and
// compared. A file that has changed is [ErrSourceChanged]; nothing of the two is mixed.
//
// # Streams
//
// An [io.Reader] is read once. What is not yet on the server's stable storage is
// kept in memory, at most Options.Retention, and sent again from there when a
// connection breaks.
//
// # Many files
//
// Uploads of one [Client] that are under way at the same time share one
// connection, and follow each other on it without waiting for answers. Call
// Upload from as many goroutines as files should be on their way.
//
// # What is not retried
//
// What trying again does not mend ends the upload at once: a status of 4xx but
// 408, 425 and 429, a certificate that does not verify, an error that the server
// calls final, and [ErrSuperseded]. [Resumable] tells whether the upload can be
// gone on with later.
package client
