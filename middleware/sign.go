package middleware

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The signature is that of Standard Webhooks (standardwebhooks.com), for which
// there are libraries in most languages: the base64 of the HMAC-SHA256 over id,
// timestamp and body with dots between them, behind "v1,". Who checks it also
// refuses a timestamp that is minutes away from now, so that a POST which was
// overheard cannot be sent again later.
const (
	webhookID        = "Webhook-Id"
	webhookTimestamp = "Webhook-Timestamp" // seconds since 1970
	webhookSignature = "Webhook-Signature"
)

// sign signs body, which req has.
func (h *Webhook) sign(req *http.Request, id string, body []byte, now time.Time) error {
	if h.Secret == "" {
		return nil
	}
	key, err := signingKey(h.Secret)
	if err != nil {
		return err
	}
	at := strconv.FormatInt(now.Unix(), 10)
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%s.%s", id, at, body)
	req.Header.Set(webhookID, id)
	req.Header.Set(webhookTimestamp, at)
	req.Header.Set(webhookSignature, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	return nil
}

// signingKey returns the bytes of a secret: what is in base64 behind "whsec_",
// else the secret as it is.
func signingKey(secret string) ([]byte, error) {
	encoded, ok := strings.CutPrefix(secret, "whsec_")
	if !ok {
		return []byte(secret), nil
	}
	key, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return nil, fmt.Errorf(`webhook: the secret is not base64 behind "whsec_": %w`, err)
	}
	return key, nil
}
