package main

import (
	"errors"
	"net/http"

	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/resume/client"
)

// The exit codes; the package comment says what they mean.
const (
	exitOK = iota
	exitFailed
	exitUsage
	exitResumable
	exitRejected
	exitChanged
	exitDigest
	exitSuperseded
)

// exitCode returns the code for the error of one file. remembered: the same
// command would find the upload again.
func exitCode(err error, remembered bool) int {
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, client.ErrSourceChanged):
		return exitChanged
	case errors.Is(err, client.ErrDigestMismatch):
		return exitDigest
	case errors.Is(err, client.ErrSuperseded):
		return exitSuperseded
	case refused(err):
		return exitRejected
	case client.Resumable(err) && remembered:
		return exitResumable
	}
	return exitFailed
}

// refused reports whether somebody on the other side said no.
func refused(err error) bool {
	var server *protocol.Error
	if errors.As(err, &server) && !server.Resumable {
		switch server.Code {
		case protocol.Rejected, protocol.Forbidden, protocol.QuotaExceeded, protocol.MaxSizeExceeded:
			return true
		}
	}
	var handshake *client.RefusedError
	return errors.As(err, &handshake) && !errors.Is(err, client.ErrGaveUp) &&
		(handshake.Status == http.StatusUnauthorized || handshake.Status == http.StatusForbidden)
}

// worst returns the first code that is neither ok nor resumable, else
// resumable if there is one.
func worst(codes []int) int {
	all := exitOK
	for _, c := range codes {
		if c != exitOK && c != exitResumable {
			return c
		}
		all = max(all, c)
	}
	return all
}
