package middleware

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/middleware/ticket"
	"github.com/wsingest/wsingest/resume"
)

// permit is what the ticket of an opening says beyond what stands in the
// Opening.
type permit struct {
	sha256     []byte // of the content, compared at the end; nil: any
	resumeOnly bool   // the ticket has expired: nothing new may come of it
}

// checkTicket holds an opening to the ticket that came with it, where tickets are
// asked for: it says whose the upload is, and what it may be. One that is there
// already is held to it as it is, whatever the client says of it now.
func (s *session) checkTicket(asked *Opening) (permit, error) {
	if s.in.opts.Tickets == nil {
		return permit{}, nil
	}
	text, err := s.ticket(asked.Ticket)
	if err != nil {
		return permit{}, err
	}
	c, err := s.in.opts.Tickets.Verify(text)
	switch {
	case err != nil:
		return permit{}, forbidden("The ticket is refused: %v. Ask the app for another.", err)
	case !c.AllowsRoute(s.req.URL.Path):
		return permit{}, forbidden("The ticket is for uploads to %s, this one goes to %.200q.", c.Route, s.req.URL.Path)
	case c.ID != "" && c.ID != string(asked.Info.ID):
		return permit{}, forbidden("The ticket is for one upload, and this is another: ask the app for one with the id of this upload.")
	}
	if c.Owner != "" {
		asked.Info.Owner = c.Owner
	}
	st, err := s.in.store.Stat(s.in.work, asked.Info.ID)
	there := err == nil && st.Owner == asked.Info.Owner
	if err != nil && !errors.Is(err, resume.ErrNotFound) {
		return permit{}, err
	}
	expired := time.Now().After(c.Expires)
	if expired && (!there || st.Created.After(c.Expires)) {
		return permit{}, forbidden("The ticket expired at %s: ask the app for a new one.", c.Expires.UTC().Format(time.RFC3339))
	}
	if there {
		err = holdTo(c, asked, st)
	} else {
		err = holdNewTo(c, asked)
	}
	return permit{sha256: c.SHA256, resumeOnly: expired}, err
}

// ticket returns the one that came with an open, or with the upgrade of a plain
// connection.
func (s *session) ticket(inOpen string) (string, error) {
	switch scheme, token, _ := strings.Cut(s.req.Header.Get("Authorization"), " "); {
	case s.full && inOpen != "":
		return inOpen, nil
	case s.full:
		return "", forbidden("Uploads need a ticket here: ask the app for one, and send it in open.")
	case inOpen != "":
		return "", forbidden("A ticket does not belong into a URL, which stands in logs: send it in the header, as Authorization: Bearer, or in the open of the subprotocol %s.", protocol.Subprotocol)
	case strings.EqualFold(scheme, "Bearer"):
		return strings.TrimSpace(token), nil
	}
	return "", forbidden("Uploads need a ticket here: ask the app for one, and send it in the header, as Authorization: Bearer.")
}

// holdNewTo holds an upload that is not there yet to its ticket. What its
// client left open is as the ticket says.
func holdNewTo(c ticket.Claims, asked *Opening) error {
	info := &asked.Info
	if info.Name == "" {
		info.Name = c.Name
	}
	if info.Type == "" && !strings.HasSuffix(c.Type, "/*") {
		info.Type = c.Type
	}
	return holdTo(c, asked, resume.State{Info: *info, Phase: resume.Receiving})
}

// holdTo holds an upload in the state st to its ticket.
func holdTo(c ticket.Claims, asked *Opening, st resume.State) error {
	if st.Length == resume.UnknownLength {
		if c.Length != nil && asked.Info.Length == resume.UnknownLength {
			asked.Info.Length = *c.Length
		}
		st.Length = asked.Info.Length
	}
	if c.MaxSize > 0 && (asked.MaxSize == 0 || asked.MaxSize > c.MaxSize) {
		asked.MaxSize = c.MaxSize
	}
	asked.Info.WantSHA256 = asked.Info.WantSHA256 || c.SHA256 != nil
	switch {
	case c.Name != "" && st.Name != c.Name:
		return forbidden("The ticket is for a file named %q, this one is named %q.", c.Name, st.Name)
	case !c.AllowsType(st.Type):
		return forbidden("The ticket is for a file of type %s, this one is of type %q.", c.Type, st.Type)
	case c.Length != nil && st.Length != *c.Length:
		return forbidden("The ticket is for a file of %d bytes, this one has %d.", *c.Length, st.Length)
	case asked.MaxSize > 0 && st.Length > asked.MaxSize:
		return tooLarge(st.ID, asked.MaxSize)
	case c.SHA256 != nil && st.Phase != resume.Receiving && !bytes.Equal(st.SHA256, c.SHA256):
		return forbidden("The ticket is for other content than the file that was uploaded has.")
	}
	return nil
}

// demand adds to what a finished upload must be what its ticket says of it.
func (p permit) demand(o *resume.FinishOptions) error {
	if p.sha256 == nil {
		return nil
	}
	if o.SHA256 != nil && !bytes.Equal(o.SHA256, p.sha256) {
		return fmt.Errorf("%w: SHA-256 is said to be %x, the ticket is for %x", resume.ErrDigestMismatch, o.SHA256, p.sha256)
	}
	o.SHA256 = p.sha256
	return nil
}

func forbidden(format string, args ...any) *protocol.Error {
	return &protocol.Error{Code: protocol.Forbidden, Detail: fmt.Sprintf(format, args...)}
}
