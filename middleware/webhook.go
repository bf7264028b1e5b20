package middleware

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/cenkalti/backoff/v5"
	"go.uber.org/zap"
)

// Webhook tells another server of every upload that was taken, with a POST of
// JSON whose fields are those of [WebhookBody]. Its method Confirm is meant for
// [Options.Confirm].
//
// The POST comes at least once. After a crash, or when its answer was lost, it
// comes again with the same Idempotency-Key.
type Webhook struct {
	URL string
	// Secret, if set, has every POST signed as Standard Webhooks are
	// (standardwebhooks.com): Webhook-Id is that of the upload, Webhook-Timestamp
	// in seconds since 1970, Webhook-Signature "v1," and the base64 of the
	// HMAC-SHA256 over "<id>.<timestamp>.<body>". The key is the base64 behind
	// "whsec_", or else the secret itself.
	Secret string
	// Client sends it. nil: one that follows no redirect, and waits 30 s.
	Client *http.Client
	// Logger is told of answers that leave nothing to try again. nil: none.
	Logger *zap.Logger
}

// WebhookBody is what a [Webhook] sends.
type WebhookBody struct {
	Event    string            `json:"event"` // "completed"
	ID       string            `json:"id"`
	Owner    string            `json:"owner,omitempty"`
	Name     string            `json:"name,omitempty"` // as the client gave it: never trust it as a path
	Type     string            `json:"media-type,omitempty"`
	Length   int64             `json:"length"`
	SHA256   string            `json:"sha-256,omitempty"` // in hexadecimal
	Metadata map[string]string `json:"metadata,omitempty"`
	Location string            `json:"location,omitempty"` // of the file, below the directory files are published in
	Status   int               `json:"status,omitempty"`   // of the app's answer
	Created  time.Time         `json:"created"`
}

var webhookClient = &http.Client{
	Timeout:       30 * time.Second,
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// Confirm sends the POST. Its error means that sending it again may help: the
// server could not be reached, or answered 408, 425, 429 or 5xx. Any other
// answer but 2xx is logged, and that is the end of it: the file was taken, and
// no repetition would help.
func (h *Webhook) Confirm(ctx context.Context, t Taken) error {
	req, err := h.request(ctx, t)
	if err != nil {
		return err
	}
	client := h.Client
	if client == nil {
		client = webhookClient
	}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("webhook: %w", err)
	}
	defer resp.Body.Close()
	said, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
	switch {
	case resp.StatusCode/100 == 2:
	case passing(resp.StatusCode):
		err := fmt.Errorf("webhook: %s answered %s", h.URL, resp.Status)
		if s, _ := strconv.Atoi(resp.Header.Get("Retry-After")); s > 0 {
			return errors.Join(err, backoff.RetryAfter(min(s, int(maxRetry.Seconds())*10)))
		}
		return err
	case h.Logger != nil:
		h.Logger.Error("the webhook was refused, and is not sent again", zap.String("upload", string(t.State.ID)),
			zap.String("url", h.URL), zap.String("status", resp.Status), zap.ByteString("body", said))
	}
	return nil
}

func (h *Webhook) request(ctx context.Context, t Taken) (*http.Request, error) {
	st := t.State
	body, err := json.Marshal(WebhookBody{
		Event: "completed", ID: string(st.ID), Owner: st.Owner, Name: st.Name, Type: st.Type, Length: st.Length,
		SHA256: hex.EncodeToString(st.SHA256), Metadata: st.Metadata, Location: t.Location, Status: t.Status, Created: st.Created,
	})
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.URL, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("webhook: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", strconv.Quote(string(st.ID)))
	return req, h.sign(req, string(st.ID), body, time.Now())
}
