package client

import (
	"bytes"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/wsingest/wsingest/middleware/protocol"
)

func TestSupersededIsNotFoughtOver(t *testing.T) {
	f := newFake(t, func(f *fake) {
		f.onData = func(_ *fakeConn, u *fakeUpload) error {
			return &protocol.Error{ID: u.id, Code: protocol.Superseded, Detail: "a newer connection", Resumable: true}
		}
	})
	_, err := Upload(testContext(t), f.url, FromReader(bytes.NewReader(randomBytes(1<<20)), UnknownSize), quick())
	if !errors.Is(err, ErrSuperseded) || f.conns != 1 {
		t.Errorf("error %v after %d connections", err, f.conns)
	}
}

func TestServersPauseIsHonoured(t *testing.T) {
	const pause = 300 * time.Millisecond
	var refused time.Time
	f := newFake(t, func(f *fake) {
		f.refuse = func(n int, w http.ResponseWriter) bool {
			if n == 1 {
				w.Header().Set("Retry-After", "1")
				w.WriteHeader(http.StatusServiceUnavailable)
				refused = time.Now()
			} else if n == 2 && time.Since(refused) < time.Second {
				t.Errorf("back %v after Retry-After: 1", time.Since(refused))
			}
			return n == 1
		}
		f.onData = func(c *fakeConn, u *fakeUpload) error {
			if c.n == 2 {
				refused = time.Now()
				return &protocol.Error{ID: u.id, Code: protocol.Overloaded, Resumable: true, RetryAfterMS: pause.Milliseconds()}
			}
			if c.n == 3 {
				if time.Since(refused) < pause {
					t.Errorf("back %v after retry-after-ms of %v", time.Since(refused), pause)
				}
				refused = time.Now()
				c.say(&protocol.Goaway{ID: u.id, RetryAfterMS: pause.Milliseconds()})
				return errHang // a done must not be quicker than the goaway
			}
			if c.n == 4 && time.Since(refused) < pause {
				t.Errorf("back %v after goaway with %v", time.Since(refused), pause)
			}
			return nil
		}
	})
	r, err := Upload(testContext(t), f.url, FromReaderAt(bytes.NewReader(randomBytes(1<<20)), 1<<20), quick())
	if err != nil || r.Reconnects != 2 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestFinalRefusalsAreNotRetried(t *testing.T) {
	for _, status := range []int{http.StatusOK, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusNotImplemented} {
		f := newFake(t, func(f *fake) {
			f.refuse = func(_ int, w http.ResponseWriter) bool { http.Error(w, "no such luck", status); return true }
		})
		_, err := Upload(testContext(t), f.url, FromReader(bytes.NewReader(nil), 0), quick())
		var refused *RefusedError
		if !errors.As(err, &refused) || refused.Status != status || refused.Body != "no such luck\n" || f.conns != 1 {
			t.Errorf("status %d: %v after %d connections", status, err, f.conns)
		}
	}
}

func TestVerdictsOfTheServerAreNotRetried(t *testing.T) {
	for code, target := range map[protocol.Code]error{
		protocol.BadMessage: nil, protocol.InconsistentLength: ErrSourceChanged, protocol.Superseded: ErrSuperseded,
	} {
		for _, lanes := range []int{1, 2} {
			f := newFake(t, func(f *fake) {
				f.onOpen = func(_ *fakeConn, m *protocol.Open) error {
					return &protocol.Error{ID: m.ID, Code: code, Detail: "no", Resumable: true}
				}
			})
			o := quick()
			o.Lanes = lanes
			_, err := Upload(testContext(t), f.url, FromReaderAt(zeros{}, leastForLanes), o)
			var server *protocol.Error
			if !errors.As(err, &server) || server.Code != code || f.conns > lanes || target != nil && !errors.Is(err, target) {
				t.Errorf("%s, %d lanes: %v after %d connections", code, lanes, err, f.conns)
			}
		}
	}
}

func TestCloseCodeAloneTellsWhetherToRetry(t *testing.T) {
	for code, retried := range map[int]bool{1001: true, 1011: true, 1012: true, 1013: true, 1008: false, 1009: false, 4409: false} {
		f := newFake(t, func(f *fake) {
			f.onOpen = func(c *fakeConn, m *protocol.Open) error {
				if c.n == 1 {
					c.ws.Close(websocket.StatusCode(code), "")
					return errCut
				}
				return nil
			}
		})
		_, err := Upload(testContext(t), f.url, FromReader(bytes.NewReader(nil), 0), quick())
		if retried && err != nil || !retried && (err == nil || f.conns != 1) || code == 4409 && !errors.Is(err, ErrSuperseded) {
			t.Errorf("code %d: %v after %d connections", code, err, f.conns)
		}
	}
}

func TestGivesUpAfterItsBounds(t *testing.T) {
	for _, bound := range []Retry{{MaxTries: 3}, {GiveUpAfter: 50 * time.Millisecond}} {
		f := newFake(t, func(f *fake) {
			f.refuse = func(_ int, w http.ResponseWriter) bool { w.WriteHeader(http.StatusBadGateway); return true }
		})
		bound.MinDelay, bound.MaxDelay = time.Millisecond, 20*time.Millisecond
		_, err := Upload(testContext(t), f.url, FromReader(bytes.NewReader(nil), 0), Options{Retry: bound})
		var refused *RefusedError
		if !errors.Is(err, ErrGaveUp) || !errors.As(err, &refused) || !Resumable(err) {
			t.Errorf("%+v: error %v", bound, err)
		}
		if bound.MaxTries > 0 && f.conns != bound.MaxTries {
			t.Errorf("%d connections, expected %d", f.conns, bound.MaxTries)
		}
	}
}

func TestRejectionIsTheAppsWord(t *testing.T) {
	f := newFake(t, func(f *fake) {
		f.onFinish = func(c *fakeConn, u *fakeUpload) (bool, error) {
			c.say(&protocol.Error{ID: u.id, Code: protocol.Rejected, Detail: "not an image", Response: &protocol.Response{Status: 415, Body: "no"}})
			return true, nil
		}
	})
	_, err := Upload(testContext(t), f.url, FromReader(bytes.NewReader([]byte("x")), 1), quick())
	var server *protocol.Error
	if !errors.Is(err, ErrRejected) || !errors.As(err, &server) || server.Response.Status != 415 || Resumable(err) {
		t.Errorf("error %v", err)
	}
}

func TestDigestMismatchIsNoticed(t *testing.T) {
	for _, want := range []bool{true, false} {
		f := newFake(t, func(f *fake) {
			f.onFinish = func(_ *fakeConn, u *fakeUpload) (bool, error) {
				u.content[7] ^= 1
				return false, nil
			}
		})
		o := quick()
		o.WantDigest = want
		_, err := Upload(testContext(t), f.url, FromReaderAt(bytes.NewReader(randomBytes(1000)), 1000), o)
		if !errors.Is(err, ErrDigestMismatch) || Resumable(err) {
			t.Errorf("WantDigest %v: error %v", want, err)
		}
	}
	// A server that does not compare, and says done.
	f := newFake(t, func(f *fake) {
		f.onFinish = func(c *fakeConn, u *fakeUpload) (bool, error) {
			c.say(&protocol.Done{ID: u.id, Length: 1000, Digest: &protocol.Digest{SHA256: make([]byte, 32)}})
			return true, nil
		}
	})
	o := quick()
	o.WantDigest = true
	_, err := Upload(testContext(t), f.url, FromReaderAt(bytes.NewReader(randomBytes(1000)), 1000), o)
	if !errors.Is(err, ErrDigestMismatch) {
		t.Errorf("error %v", err)
	}
}

func TestShortSourceIsAnError(t *testing.T) {
	f := newFake(t, nil)
	_, err := Upload(testContext(t), f.url, FromReader(bytes.NewReader(make([]byte, 10)), 11), quick())
	if !errors.Is(err, ErrShortSource) {
		t.Errorf("error %v", err)
	}
	_, err = Upload(testContext(t), f.url, FromReaderAt(bytes.NewReader(make([]byte, 10)), 11), quick())
	if !errors.Is(err, ErrSourceChanged) {
		t.Errorf("error %v", err)
	}
}

func TestRefusalsSayWhatAPersonCanActOn(t *testing.T) {
	for _, c := range []struct {
		err  *RefusedError
		text string
	}{
		{&RefusedError{Status: 403, Body: `{"detail":"Pages of other sites may not upload.","status":403,"title":"Forbidden"}`},
			"the server refused the connection: 403 Forbidden: Pages of other sites may not upload."},
		{&RefusedError{Status: 404, Body: "404 page not found\n<more>"}, "the server refused the connection: 404 Not Found: 404 page not found"},
		{&RefusedError{Status: 403, Body: `{"error":"no"}`}, `the server refused the connection: 403 Forbidden: {"error":"no"}`},
		{&RefusedError{Status: 401}, "the server refused the connection: 401 Unauthorized"},
	} {
		if got := c.err.Error(); got != c.text {
			t.Errorf("got %q, expected %q", got, c.text)
		}
	}
}

func TestPlainHTTPBehindAnEncryptedURLIsNotRetried(t *testing.T) {
	f := newFake(t, nil)
	_, err := Upload(testContext(t), strings.Replace(f.url, "ws:", "wss:", 1), FromReader(bytes.NewReader(nil), 0), quick())
	if !errors.Is(err, http.ErrSchemeMismatch) || errors.Is(err, ErrGaveUp) {
		t.Errorf("error %v", err)
	}
}
