package middleware_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/wsingest/wsingest/middleware"
	"github.com/wsingest/wsingest/resume"
)

// The test vector of Standard Webhooks, which the README shows.
func TestWebhooksAreSignedAsTheStandardHasIt(t *testing.T) {
	req := httptest.NewRequest(http.MethodPost, "http://hook.example/", nil)
	h := &middleware.Webhook{Secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}
	if err := middleware.SignWebhook(h, req, "msg_p5jXN8AQM9LWM0D4loKWxJek", []byte(`{"test": 2432232314}`), time.Unix(1614265330, 0)); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"Webhook-Id":        "msg_p5jXN8AQM9LWM0D4loKWxJek",
		"Webhook-Timestamp": "1614265330",
		"Webhook-Signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
	} {
		if got := req.Header.Get(name); got != want {
			t.Errorf("%s is %s, expected %s", name, got, want)
		}
	}
	h.Secret = "whsec_!"
	if err := middleware.SignWebhook(h, req, "", nil, time.Now()); err == nil {
		t.Error("a secret that is no base64 was taken")
	}
}

func TestASignedWebhookCanBeChecked(t *testing.T) {
	var header http.Header
	var body []byte
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		header = r.Header
		body, _ = io.ReadAll(r.Body)
	}))
	defer server.Close()
	id := resume.NewID()
	h := &middleware.Webhook{URL: server.URL, Secret: "as it is"}
	if err := h.Confirm(t.Context(), middleware.Taken{State: resume.State{Info: resume.Info{ID: id}}}); err != nil {
		t.Fatal(err)
	}
	at, err := strconv.ParseInt(header.Get("Webhook-Timestamp"), 10, 64)
	if age := time.Since(time.Unix(at, 0)); err != nil || age < -time.Minute || age > time.Minute {
		t.Errorf("the timestamp is %s", header.Get("Webhook-Timestamp"))
	}
	mac := hmac.New(sha256.New, []byte("as it is"))
	io.WriteString(mac, string(id)+"."+header.Get("Webhook-Timestamp")+"."+string(body))
	if got, want := header.Get("Webhook-Signature"), "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)); got != want {
		t.Errorf("the signature is %s, expected %s", got, want)
	}
}
