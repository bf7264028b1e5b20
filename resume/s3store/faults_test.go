package s3store_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wsingest/wsingest/resume"
	"github.com/wsingest/wsingest/resume/s3store"
	"github.com/wsingest/wsingest/resume/s3store/s3test"
)

// operations are the requests a store makes in the life of an upload.
var (
	operations     = append([]string{"GET record", "PUT record", "PUT object", "GET object", "DELETE"}, partOperations...)
	partOperations = []string{"begin parts", "PUT part", "copy part", "list parts", "complete"}
)

func operation(r *http.Request) string {
	q := r.URL.Query()
	record := strings.Contains(r.URL.Path, "/records/")
	data := strings.Contains(r.URL.Path, "/data/")
	switch {
	case r.Method == http.MethodGet && record:
		return "GET record"
	case r.Method == http.MethodPut && record:
		return "PUT record"
	case r.Method == http.MethodPost && q.Has("uploads"):
		return "begin parts"
	case r.Method == http.MethodPost && q.Has("uploadId"):
		return "complete"
	case r.Method == http.MethodPut && r.Header.Get("X-Amz-Copy-Source") != "":
		return "copy part"
	case r.Method == http.MethodPut && q.Has("partNumber"):
		return "PUT part"
	case r.Method == http.MethodGet && q.Has("uploadId"):
		return "list parts"
	case r.Method == http.MethodPut && data:
		return "PUT object"
	case r.Method == http.MethodGet && data:
		return "GET object"
	case r.Method == http.MethodHead:
		return "HEAD"
	case r.Method == http.MethodDelete:
		return "DELETE"
	}
	return ""
}

// fault spoils one request or its answer. forward passes it on and returns the
// answer, whose body is read.
type fault func(w http.ResponseWriter, r *http.Request, forward func(*http.Request) (*http.Response, []byte))

var faults = map[string]fault{
	"delayed": func(w http.ResponseWriter, r *http.Request, forward func(*http.Request) (*http.Response, []byte)) {
		timer := time.NewTimer(150 * time.Millisecond)
		defer timer.Stop()
		<-timer.C
		resp, body := forward(r)
		pass(w, resp, body)
	},
	"reset before it arrived": func(w http.ResponseWriter, r *http.Request, _ func(*http.Request) (*http.Response, []byte)) {
		reset(w)
	},
	"answer lost": func(w http.ResponseWriter, r *http.Request, forward func(*http.Request) (*http.Response, []byte)) {
		forward(r)
		reset(w)
	},
	"cut in the middle": func(w http.ResponseWriter, r *http.Request, forward func(*http.Request) (*http.Response, []byte)) {
		if half := r.ContentLength / 2; half > 0 {
			r.Body = io.NopCloser(io.MultiReader(io.LimitReader(r.Body, half), cut{}))
		}
		forward(r)
		reset(w)
	},
	"500": func(w http.ResponseWriter, r *http.Request, _ func(*http.Request) (*http.Response, []byte)) {
		io.Copy(io.Discard, r.Body)
		refuse(w, http.StatusInternalServerError, "InternalError")
	},
	"503 SlowDown": func(w http.ResponseWriter, r *http.Request, _ func(*http.Request) (*http.Response, []byte)) {
		refuse(w, http.StatusServiceUnavailable, "SlowDown")
	},
	"500 although it was done": func(w http.ResponseWriter, r *http.Request, forward func(*http.Request) (*http.Response, []byte)) {
		forward(r)
		refuse(w, http.StatusInternalServerError, "InternalError")
	},
	"answer cut off": func(w http.ResponseWriter, r *http.Request, forward func(*http.Request) (*http.Response, []byte)) {
		resp, body := forward(r)
		if len(body) == 0 {
			reset(w)
			return
		}
		copyHeader(w.Header(), resp.Header)
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		w.WriteHeader(resp.StatusCode)
		w.Write(body[:len(body)/2])
		panic(http.ErrAbortHandler)
	},
	"wrong ETag": func(w http.ResponseWriter, r *http.Request, forward func(*http.Request) (*http.Response, []byte)) {
		resp, body := forward(r)
		const wrong = "00000000000000000000000000000000"
		if resp.Header.Get("ETag") != "" {
			resp.Header.Set("ETag", `"`+wrong+`"`)
		}
		if strings.Contains(resp.Header.Get("Content-Type"), "xml") {
			body = regexp.MustCompile(`(<ETag>[^0-9a-f]*)[0-9a-f]{32}`).ReplaceAll(body, []byte("${1}"+wrong))
			resp.Header.Set("Content-Length", fmt.Sprint(len(body)))
		}
		pass(w, resp, body)
	},
}

// cut is where a body breaks off.
type cut struct{}

func (cut) Read([]byte) (int, error) { return 0, errors.New("cut in the middle") }

func copyHeader(to, from http.Header) {
	for k, v := range from {
		to[k] = v
	}
}

func pass(w http.ResponseWriter, resp *http.Response, body []byte) {
	copyHeader(w.Header(), resp.Header)
	w.WriteHeader(resp.StatusCode)
	w.Write(body)
}

func refuse(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	fmt.Fprintf(w, `<?xml version="1.0" encoding="UTF-8"?><Error><Code>%s</Code><Message>a fault of the test</Message></Error>`, code)
}

func reset(w http.ResponseWriter) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	conn.Close()
}

// spoiler is a proxy in front of an S3 server which spoils the first requests
// of an operation.
type spoiler struct {
	endpoint string
	left     atomic.Int32 // still to be spoiled
	hit      atomic.Int32
}

func newSpoiler(t *testing.T, server, op string, f fault, times int32) *spoiler {
	t.Helper()
	s := new(spoiler)
	target := &url.URL{Scheme: "http", Host: server}
	transport := &http.Transport{MaxIdleConnsPerHost: 16, DisableCompression: true}
	proxy := &httputil.ReverseProxy{Transport: transport, Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = r.In.Host // it is signed
	}}
	proxy.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) { reset(w) }
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if operation(r) != op || s.left.Add(-1) < 0 {
			proxy.ServeHTTP(w, r)
			return
		}
		s.hit.Add(1)
		f(w, r, func(r *http.Request) (*http.Response, []byte) {
			out := r.Clone(r.Context())
			out.URL.Scheme, out.URL.Host, out.RequestURI = "http", server, ""
			resp, err := transport.RoundTrip(out)
			if err != nil {
				return &http.Response{StatusCode: http.StatusBadGateway, Header: http.Header{}}, nil
			}
			defer resp.Body.Close()
			body, _ := io.ReadAll(resp.Body)
			return resp, body
		})
	}))
	t.Cleanup(func() {
		front.Close()
		transport.CloseIdleConnections()
	})
	s.endpoint = strings.TrimPrefix(front.URL, "http://")
	s.left.Store(times)
	return s
}

// TestNoFaultLosesAByteBelowOffset: a row for each operation and fault. An
// upload begins on one node and goes on on another; whatever the network does to
// a request of the kind, twice, nothing that was durable is missing, the claims
// live, and the object is right.
func TestNoFaultLosesAByteBelowOffset(t *testing.T) {
	server := s3test.Start(t)
	server.Bucket(t, "uploads")
	large, tiny := random(4, 5<<20+150_000), random(4, 300_000)
	eachFault(t, operations, func(t *testing.T, prefix, op string, f fault) {
		s := newSpoiler(t, server.Endpoint, op, f, 2)
		o := small(server, prefix)
		o.Endpoint = s.endpoint
		o.SyncInterval = time.Minute
		data := large
		if !slices.Contains(partOperations, op) {
			data = tiny // an upload without parts
		}
		life(t, o, data)
		for _, left := range leftovers(t, server, prefix) {
			// A multipart upload of which nobody was told the name is left to
			// the janitor.
			if op != "begin parts" || !strings.HasPrefix(left, "multipart ") {
				t.Errorf("left in the bucket: %s", left)
			}
		}
		if s.hit.Load() == 0 {
			t.Errorf("no request of the kind %q was made", op)
		}
	})
}

// eachFault runs a test for each operation and fault, each with keys of its own.
func eachFault(t *testing.T, operations []string, test func(t *testing.T, prefix, op string, f fault)) {
	row := 0
	for _, op := range operations {
		for _, name := range slices.Sorted(maps.Keys(faults)) {
			row++
			if testing.Short() && row%8 != 0 {
				continue
			}
			prefix := fmt.Sprintf("row%d/", row)
			t.Run(op+"/"+name, func(t *testing.T) {
				t.Parallel()
				test(t, prefix, op, faults[name])
			})
		}
	}
}

// life is that of an upload over two nodes, with every operation in it.
func life(t *testing.T, o s3store.Options, data []byte) {
	a, b := node(t, o), node(t, o)
	info := resume.Info{ID: resume.NewID(), Length: int64(len(data))}
	first := open(t, a, info)
	cut := len(data) - 70_000
	write(t, first, data[:cut])
	if err := first.Sync(patience(t)); err != nil {
		t.Fatal(err)
	}
	if first.Durable() != int64(cut) {
		t.Fatalf("durable is %d after Sync at %d", first.Durable(), cut)
	}
	if st, err := b.Stat(patience(t), info.ID); err != nil || st.Durable.EndFrom(0) != int64(cut) {
		t.Fatalf("another node sees %v, %v", st.Durable, err)
	}
	c := open(t, b, info)
	if c.Cursor() != int64(cut) || c.Durable() != int64(cut) && c.Durable() != c.Cursor() {
		t.Fatalf("the other node goes on from %d, durable was %d", c.Cursor(), cut)
	}
	if crc := c.State().Durable[0].CRC32C; crc != resume.UpdateCRC32C(0, data[:cut]) {
		t.Fatalf("the checksum of what is durable is %08x", crc)
	}
	write(t, c, data[cut:])
	finish(t, c, data)
	holds(t, a, info.ID, data)
	if err := b.Settle(patience(t), info.ID, []byte("taken")); err != nil {
		t.Fatal(err)
	}
	if st, err := a.Stat(patience(t), info.ID); err != nil || st.Phase != resume.Delivered || !bytes.Equal(st.Result, []byte("taken")) {
		t.Fatalf("the first node sees %s, %q, %v", st.Phase, st.Result, err)
	}
	first.Close()
	c.Close()
	if err := b.Delete(patience(t), info.ID); err != nil {
		t.Fatal(err)
	}
	a.Close()
	b.Close()
}

// TestAnOutageIsWaitedFor: the server is away for a while in the middle; the
// claim lives, and what it reported before is there.
func TestAnOutageIsWaitedFor(t *testing.T) {
	server := s3test.Start(t)
	server.Bucket(t, "uploads")
	s := node(t, small(server, ""))
	data := random(5, 16<<20)
	c := open(t, s, resume.Info{ID: resume.NewID(), Length: int64(len(data))})
	write(t, c, data[:6<<20])
	if err := c.Sync(patience(t)); err != nil {
		t.Fatal(err)
	}
	server.Stop()
	back := make(chan error, 1)
	time.AfterFunc(1500*time.Millisecond, func() { back <- server.Run() })
	write(t, c, data[6<<20:])
	if c.Durable() < 6<<20 {
		t.Errorf("durable went back to %d", c.Durable())
	}
	if err := <-back; err != nil {
		t.Fatal(err)
	}
	finish(t, c, data)
	holds(t, s, c.State().ID, data)
}

// TestAnOutageWithoutEndKeepsWhatIsDurable: the claim ends with the fault, and
// the next one goes on from what was reported.
func TestAnOutageWithoutEndKeepsWhatIsDurable(t *testing.T) {
	server := s3test.Start(t)
	server.Bucket(t, "uploads")
	o := small(server, "")
	o.RetryFor = time.Second
	s := node(t, o)
	data := random(6, 12<<20)
	info := resume.Info{ID: resume.NewID(), Length: int64(len(data))}
	c := open(t, s, info)
	write(t, c, data[:6<<20])
	if err := c.Sync(patience(t)); err != nil {
		t.Fatal(err)
	}
	server.Stop()
	_, _ = c.Write(data[6<<20 : 7<<20])
	if err := c.Sync(patience(t)); err == nil || errors.Is(err, resume.ErrSuperseded) || c.Err() == nil {
		t.Fatalf("Sync without a server: %v; the claim: %v", err, c.Err())
	}
	if err := server.Run(); err != nil {
		t.Fatal(err)
	}
	c = open(t, s, info)
	if c.Cursor() < 6<<20 {
		t.Fatalf("the next claim begins at %d", c.Cursor())
	}
	write(t, c, data[c.Cursor():])
	finish(t, c, data)
	holds(t, s, info.ID, data)
}

// TestAStorageWithoutConditionsIsRefused, unless the operator asks for it.
func TestAStorageWithoutConditionsIsRefused(t *testing.T) {
	server := s3test.Start(t)
	server.Bucket(t, "uploads")
	o := small(server, "")
	o.Transport = unconditional{http.DefaultTransport}
	if s, err := s3store.New(o); !errors.Is(err, s3store.ErrNoConditions) {
		t.Fatalf("New: %v, %v", s, err)
	}
	o.Weak = true
	s := node(t, o)
	data := random(7, 100_000)
	c := open(t, s, resume.Info{ID: resume.NewID(), Length: int64(len(data))})
	write(t, c, data)
	finish(t, c, data)
	holds(t, s, c.State().ID, data)
}

// unconditional answers as a storage would that does not know conditions. They
// are signed, so a proxy cannot take them away.
type unconditional struct{ http.RoundTripper }

func (u unconditional) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Header.Get("If-Match") != "" || r.Header.Get("If-None-Match") != "" {
		return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Etag": {`"x"`}}, Body: http.NoBody, Request: r}, nil
	}
	return u.RoundTripper.RoundTrip(r)
}
