package main

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"net"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// client uploads a file, and says what came of it.
type client func(ctx context.Context, url string, file []byte, stream bool) *verdict

// broken returns the simple client with a fault; "": none.
func broken(fault string) client {
	if p := unframed[fault]; p != nil {
		return sends(p)
	}
	return func(ctx context.Context, url string, file []byte, stream bool) *verdict {
		s := &simple{fault: fault, url: url, file: file, stream: stream}
		return s.upload(ctx)
	}
}

// How long a client in a test may take for a case: one that is stuck is to end
// soon, and one that waits longer each time, or always long, is not to be stopped.
const (
	patience = 18 * time.Second
	longest  = 40 * time.Second
)

// abreast is how many tests run at a time: what they do is mostly to wait.
const abreast = 14

// playing bounds the cases of all tests that are played at a time: who waits for
// the processor looks like who waits.
var playing = make(chan struct{}, func() int {
	if raced {
		return 8
	}
	return 96
}())

func TestMain(m *testing.M) {
	flag.Parse()
	flag.Set("test.parallel", strconv.Itoa(abreast))
	dir, err := os.MkdirTemp("", "conformance-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	programs.dir = dir
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// try plays cases against a client, side by side.
func try(t *testing.T, client client, cases []*Case, patience time.Duration) []result {
	t.Helper()
	s := &server{}
	web := httptest.NewServer(s.handler())
	t.Cleanup(web.Close)
	r := newRound(cases)
	s.add(r)
	var all sync.WaitGroup
	for _, p := range r.plays {
		all.Go(func() {
			playing <- struct{}{}
			defer func() { <-playing }()
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			v := client(ctx, "ws"+web.URL[len("http"):]+"/runs/1/"+p.c.Name+"/upload", p.file, p.c.stream)
			p.mu.Lock()
			p.verdict = v
			p.mu.Unlock()
			p.judge(0)
		})
	}
	all.Wait()
	return r.results()
}

// With nothing else beside them: these are held to their times.
func TestClientsThatWait(t *testing.T) {
	t.Run("without fault they pass everything", func(t *testing.T) {
		t.Parallel()
		for _, res := range try(t, broken(""), Cases(), longest) {
			if res.Status != passed {
				t.Errorf("%s: %s %s %v\n%s", res.Name, res.Status, res.Why, res.Findings, strings.Join(res.Trace, "\n"))
			}
		}
	})
	for fault, says := range timed {
		if raced {
			continue
		}
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			cases := append(strings.Fields(faults[fault]), breaking...)
			if text := mustFail(t, fault, longest, named(cases)); !strings.Contains(text, says) {
				t.Errorf("found %s, expected a finding that says %q", text, says)
			}
		})
	}
}

// faults are what a client can get wrong, and the cases that say so.
var faults = map[string]string{
	"offers no subprotocol":                                   "subprotocol",
	"does without the subprotocol":                            "no-subprotocol",
	"does not mask its frames":                                "frames",
	"sets a bit that was not negotiated":                      "frames",
	"gives up over a 503":                                     "unavailable",
	"ignores Retry-After":                                     "unavailable retry-after unknown-code goaway goaway-after-finish",
	"says nothing before its bytes":                           "open",
	"writes a field twice":                                    "messages",
	"makes short ids":                                         "id",
	"makes ids of little chance":                              "id",
	"has one id for all files":                                "id",
	"shows its ticket once":                                   "ticket",
	"does not wait for ready":                                 "wait-for-ready",
	"forgets files without bytes":                             "empty",
	"forgets files of one byte":                               "one-byte",
	"says a wrong length":                                     "length",
	"chokes on what it does not know":                         "unknown-fields long-message",
	"passes over unknown types":                               "unknown-type",
	"is confused by a ping within a message":                  "fragments",
	"reads short messages only":                               "long-message",
	"always begins at the first byte":                         "cursor",
	"overruns the window":                                     "window window-shrinks window-zero",
	"keeps the widest window":                                 "window-shrinks window-zero",
	"takes a window of 0 for none":                            "window-zero",
	"takes heartbeats for silence":                            "window-zero waiting-for-space heartbeats slow-delivery",
	"waits for room for a whole chunk":                        "small-window",
	"never uses the last byte of credit":                      "whole-window",
	"has a chunk of its own":                                  "chunk",
	"ignores max-append-size":                                 "max-append-size",
	"answers no ping":                                         "ping",
	"reads only when it has nothing to send":                  "reads-while-sending",
	"says a wrong check":                                      "check",
	"makes a new id for each connection":                      "same-id",
	"sends again what is durable":                             "resume",
	"gives up when what was received is lost":                 "lost-received cursor holes stream-resume finish-missing check-mismatch",
	"gives up when a message was cut":                         "cut-message",
	"gives up over a hole":                                    "holes",
	"mixes what the server has with what it sends":            "have-other",
	"never notices silence":                                   "silence silence-after-finish",
	"says a length of a stream":                               "stream",
	"cannot send a stream again":                              "stream-resume",
	"ignores the delay of goaway":                             "goaway goaway-after-finish",
	"gives up over a close with 1001":                         "close-codes",
	"waits as long each time":                                 "back-off",
	"waits without chance":                                    "jitter",
	"finishes with a wrong length":                            "finish",
	"finishes with a wrong digest":                            "digest",
	"takes the end of a connection behind finish for success": "done-lost rejected-lost silence-after-finish goaway-after-finish finish-missing check-mismatch",
	"sends what is complete":                                  "done-lost",
	"believes any done":                                       "complete-other",
	"gives up when bytes are missing":                         "finish-missing",
	"opens again after a digest that does not fit":            "digest-mismatch",
	"gives up over a check":                                   "check-mismatch",
	"takes rejected for success":                              "rejected rejected-lost rejected-early",
	"keeps the app's answer to itself":                        "rejected rejected-lost",
	"says nothing of why":                                     "rejected rejected-lost forbidden max-size-exceeded quota-exceeded bad-message inconsistent-length unknown-refusal rejected-early",
	"tries again what was refused":                            "forbidden max-size-exceeded quota-exceeded bad-message inconsistent-length unknown-refusal not-found bad-id",
	"takes back what another took over":                       "superseded superseded-close",
	"takes its own echo for another":                          "late-echo",
	"comes back after a close with 1008":                      "close-1008",
}

// unsure are cases in which a fault may show or not, as it happens: they are not
// played with it.
var unsure = map[string]string{
	"gives up when a message was cut": "same-id resume late-echo", // where the connection breaks while more comes
}

// long are the cases that take seconds: they are played where a fault is to show
// in them, and against the client without fault.
var long = []string{"reads-while-sending", "window-zero", "waiting-for-space", "heartbeats", "slow-delivery", "silence", "silence-after-finish",
	"goaway", "goaway-after-finish", "retry-after", "unknown-code", "unavailable", "close-codes", "back-off", "jitter"}

// breaking are cases with a pause after a connection that broke, without which
// there is too little to tell chance from habit.
var breaking = []string{"same-id", "ticket", "resume", "lost-received", "cut-message", "holes", "stream-resume", "cursor", "done-lost", "rejected-lost"}

// timed are the faults that are seen by the clock, and what is said of them: a
// client that is only stopped would be found fault with, too.
var timed = map[string]string{
	"waits as long each time": "expected more each time",
	"waits without chance":    "expected a random part",
}

// hasty are the faults of clients that do not wait as long as they are asked to:
// on a machine that lets them wait, they seem to.
var hasty = []string{"ignores Retry-After", "ignores the delay of goaway"}

// few are the faults that are tried under the race detector.
var few = []string{"overruns the window", "says a wrong length", "has one id for all files", "makes a new id for each connection",
	"mixes what the server has with what it sends"}

// beside is how many cases a fault must not show in are played with each.
const beside = 16

// around returns the cases that a fault shows in, and some in which it must not:
// others for each fault, so that all have their turn.
func around(turn int, fault string) []*Case {
	names := strings.Fields(faults[fault])
	quick := slices.DeleteFunc(Cases(), func(c *Case) bool {
		return slices.Contains(slices.Concat(long, names, strings.Fields(unsure[fault])), c.Name)
	})
	for i := range beside {
		names = append(names, quick[(turn*beside+i)%len(quick)].Name)
	}
	return named(names)
}

func named(names []string) []*Case {
	return slices.DeleteFunc(Cases(), func(c *Case) bool { return !slices.Contains(names, c.Name) })
}

// mustFail demands that a fault shows where it is, and nowhere else, and returns
// what was found.
func mustFail(t *testing.T, fault string, patience time.Duration, cases []*Case) string {
	t.Helper()
	want := strings.Fields(faults[fault])
	found := map[string]bool{}
	var why []string
	chances := 1
	if slices.Contains(hasty, fault) {
		chances = 3
	}
	for ; chances > 0 && len(cases) > 0; chances-- {
		for _, res := range try(t, broken(fault), cases, patience) {
			for _, f := range res.Findings {
				found[f.Rule] = true
				why = append(why, res.Name+": "+f.Rule+": "+f.Text)
			}
		}
		cases = named(slices.DeleteFunc(slices.Clone(want), func(name string) bool { return found[name] }))
	}
	slices.Sort(want)
	if got := slices.Sorted(maps.Keys(found)); !slices.Equal(got, want) {
		t.Errorf("found %v, expected %v\n%s", got, want, strings.Join(why, "\n"))
	}
	return strings.Join(why, "\n")
}

func TestEachFaultIsSeenWhereItIsAndNowhereElse(t *testing.T) {
	t.Parallel()
	for turn, fault := range slices.Sorted(maps.Keys(faults)) {
		if timed[fault] != "" || raced && !slices.Contains(few, fault) {
			continue
		}
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			within := patience
			if raced {
				within = longest // no client of the few is stuck
			}
			mustFail(t, fault, within, around(turn, fault))
		})
	}
}

// Frames are below what a library lets one get wrong: these are the first that
// some clients send, and the last.
var unframed = map[string][]byte{
	"does not mask its frames":           {0x81, 2, '{', '}'},
	"sets a bit that was not negotiated": {0xc1, 0x80 | 2, 0, 0, 0, 0, '{', '}'},
}

// sends returns a client that sends some bytes behind its handshake.
func sends(p []byte) client {
	return func(ctx context.Context, url string, file []byte, stream bool) *verdict {
		host := strings.Split(url, "/")[2]
		c, err := net.Dial("tcp", host)
		if err != nil {
			return &verdict{Failure, err.Error()}
		}
		defer c.Close()
		path := url[strings.Index(url, host)+len(host):]
		c.Write([]byte("GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
			"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: wsingest.v1\r\n\r\n"))
		c.Write(p)
		c.SetReadDeadline(time.Now().Add(5 * time.Second))
		for b := make([]byte, 1<<10); err == nil; {
			_, err = c.Read(b)
		}
		return &verdict{Failure, "closed"}
	}
}

func TestWhatIsWrongWithAFrameIsSaid(t *testing.T) {
	t.Parallel()
	for fault, says := range map[string]string{"does not mask its frames": "not masked", "sets a bit that was not negotiated": "reserved bit"} {
		if text := mustFail(t, fault, patience, named([]string{"frames"})); !strings.Contains(text, says) {
			t.Errorf("a client that %s: found %s, expected a finding that says %q", fault, text, says)
		}
	}
}
