package middleware

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"runtime/debug"
	"slices"
	"strconv"
	"unicode/utf8"

	"go.uber.org/zap"

	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/resume"
)

// handOver gives the file to the next handler as an ordinary request.
func (in *Ingest) handOver(upgrade *http.Request, next http.Handler, st resume.State, content resume.Content) (response *protocol.Response, err error) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(upgrade.Context()))
	defer cancel()
	defer context.AfterFunc(in.work, cancel)()
	file := &File{State: st, content: content, method: in.opts.DeliverMethod}
	rec := newRecorder()
	defer func() {
		if r := recover(); r != nil {
			in.log.Error("the next handler panicked over an upload", zap.String("upload", string(st.ID)), zap.Any("panic", r), zap.ByteString("stack", debug.Stack()))
			err = fmt.Errorf("the next handler panicked: %v", r)
		}
	}()
	next.ServeHTTP(rec, file.Request(ctx, upgrade))
	return rec.response(), nil
}

// Request makes an ordinary request of an upgrade request and the file, with
// the file as its body. It is what the next handler gets; who has another
// upgrade request in hand, such as the one of a router that was built anew, can
// make another.
func (f *File) Request(ctx context.Context, upgrade *http.Request) *http.Request {
	st, content := f.State, f.content
	r := upgrade.Clone(context.WithValue(ctx, handedOver{}, f))
	r.Method = f.method
	r.Body = io.NopCloser(io.NewSectionReader(content, 0, content.Size()))
	if content.Size() == 0 {
		r.Body = http.NoBody
	}
	r.ContentLength = content.Size()
	r.TransferEncoding = nil
	h := r.Header
	dropHopByHop(h)
	h.Set("Content-Length", strconv.FormatInt(content.Size(), 10))
	h.Set("Content-Type", "application/octet-stream")
	if st.Type != "" {
		h.Set("Content-Type", st.Type)
	}
	if st.Name != "" {
		h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": resume.SafeName(st.Name)})) // RFC 6266
	}
	if st.SHA256 != nil {
		h.Set("Repr-Digest", fmt.Sprintf("sha-256=:%s:", base64.StdEncoding.EncodeToString(st.SHA256))) // RFC 9530
	}
	// A delivery whose answer was lost comes again: the id tells the app so
	// (draft-ietf-httpapi-idempotency-key-header).
	h.Set("Idempotency-Key", strconv.Quote(string(st.ID)))
	return r
}

// hopByHop are the headers of the upgrade that say nothing about the file
// (RFC 9110, section 7.6.1; RFC 6455, section 11.3).
var hopByHop = []string{
	"Connection", "Upgrade", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding",
	"Sec-Websocket-Key", "Sec-Websocket-Version", "Sec-Websocket-Extensions", "Sec-Websocket-Protocol",
	"Content-Length", "Content-Encoding", "Content-Digest", "Repr-Digest", "Expect", "Range",
	"If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "If-Range",
}

func dropHopByHop(h http.Header) {
	for _, name := range tokens(h, "Connection") {
		h.Del(name)
	}
	for _, name := range hopByHop {
		h.Del(name)
	}
}

// File is a finished upload in the hands of the next handler.
type File struct {
	// State is all that is known of the upload.
	State   resume.State
	content resume.Content
	method  string
}

type handedOver struct{}

// FileFrom returns the upload that r delivers; ok is false when r is another
// request. It also works where something has wrapped r.Body.
func FileFrom(r *http.Request) (f *File, ok bool) {
	f, ok = r.Context().Value(handedOver{}).(*File)
	return f, ok
}

// Path returns where the file is on the local disk, "" when the store keeps it
// elsewhere. It is valid until the handler returns.
func (f *File) Path() string {
	if c, ok := f.content.(resume.FileContent); ok {
		return c.Path()
	}
	return ""
}

// Rename moves the file to a path on the same file system, durably, instead of
// having it copied. What is there is replaced. The handler then answers with a
// status below 400; if it does not, the file is gone from the store all the
// same, and so cannot be delivered again.
func (f *File) Rename(to string) error {
	if c, ok := f.content.(resume.FileContent); ok {
		return c.Rename(to)
	}
	return fmt.Errorf("upload %s: the store keeps no files: copy the body instead", f.State.ID)
}

// recorder is the ResponseWriter of a delivery. It keeps what the client is
// told, and lets the rest go by.
type recorder struct {
	header    http.Header
	sent      http.Header // as of WriteHeader
	status    int
	body      bytes.Buffer
	truncated bool
}

const (
	maxResponseBody    = 64 << 10
	maxResponseHeaders = 6 << 10
)

func newRecorder() *recorder { return &recorder{header: make(http.Header)} }

func (r *recorder) Header() http.Header { return r.header }

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 && status >= 200 { // 1xx are not the answer
		r.status = status
		r.sent = r.header.Clone()
	}
}

func (r *recorder) Write(p []byte) (int, error) {
	r.WriteHeader(http.StatusOK)
	room := maxResponseBody - r.body.Len()
	if len(p) > room {
		r.truncated = true
		r.body.Write(p[:room])
	} else {
		r.body.Write(p)
	}
	return len(p), nil
}

// Flush makes the recorder a http.Flusher, which some handlers insist on.
func (r *recorder) Flush() { r.WriteHeader(http.StatusOK) }

func (r *recorder) response() *protocol.Response {
	r.WriteHeader(http.StatusOK)
	resp := &protocol.Response{Status: r.status, Headers: tellable(r.sent), Truncated: r.truncated}
	if body := r.body.Bytes(); r.truncated && !utf8.Valid(body) && utf8.Valid(trimRune(body)) {
		resp.Body = string(trimRune(body))
	} else if utf8.Valid(body) {
		resp.Body = string(body)
	} else {
		resp.BodyBase64 = body
	}
	return resp
}

// trimRune cuts off a character that the bound has torn.
func trimRune(p []byte) []byte {
	for i := 1; i <= min(len(p), utf8.UTFMax); i++ {
		if utf8.RuneStart(p[len(p)-i]) {
			return p[:len(p)-i]
		}
	}
	return p
}

// tellable returns the headers that mean something behind a socket. Cookies do
// not: nothing would set them, and they would stand on disk.
func tellable(h http.Header) map[string][]string {
	out := make(map[string][]string)
	size := 0
	for _, k := range slices.Sorted(maps.Keys(h)) {
		switch k {
		case "Set-Cookie", "Connection", "Transfer-Encoding", "Content-Length", "Date":
			continue
		}
		for _, v := range h[k] {
			if size += len(k) + len(v); size <= maxResponseHeaders {
				out[k] = append(out[k], v)
			}
		}
	}
	return out
}

// fit shortens the body of a response that grew too large to be stored, as one
// full of control characters does in JSON.
func fit(m protocol.Message, r *protocol.Response) protocol.Message {
	for len(protocol.Encode(m)) > resume.MaxResultSize && (r.Body != "" || r.BodyBase64 != nil) {
		r.Truncated = true
		r.Body = truncate(r.Body, len(r.Body)/2)
		r.BodyBase64 = r.BodyBase64[:len(r.BodyBase64)/2]
	}
	return m
}

// retryAfter returns the seconds a passing refusal asks to wait, 0 if it does
// not say.
func retryAfter(r *protocol.Response) int {
	for _, v := range r.Headers["Retry-After"] {
		if n, err := strconv.Atoi(v); err == nil && n > 0 {
			return min(n, int(maxRetry.Seconds())*10)
		}
	}
	return 0
}
