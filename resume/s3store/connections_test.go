package s3store_test

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"runtime/metrics"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wsingest/wsingest/middleware"
	"github.com/wsingest/wsingest/resume/s3store/s3test"
)

// TestTwoHundredConnectionsStayInTheBudget: what a node has on its heap while 200
// clients send at the same time is the memory it was given, and a little for
// each of them. The clients are in the same process, and have nothing.
func TestTwoHundredConnectionsStayInTheBudget(t *testing.T) {
	const clients, memory, each, spare = 200, 32 << 20, 96 << 10, 24 << 20
	size := 1 << 20
	if long {
		size = 24 << 20 // several parts
	}
	server := s3test.Start(t)
	server.Bucket(t, "uploads")
	o := small(server, "")
	o.Memory, o.SyncInterval = memory, 2*time.Second
	url := serve(t, node(t, o), middleware.Options{Memory: memory})

	payload := random(5, size)
	heapBefore, residentBefore := heap(), resident(t)
	errs := make([]error, clients)
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() { errs[i] = sendFrames(url, payload) })
	}
	over := make(chan struct{})
	go func() {
		all.Wait()
		close(over)
	}()
	var most, mostResident uint64
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for sending := true; sending; {
		select {
		case <-over:
			sending = false
		case <-tick.C:
			most, mostResident = max(most, heap()), max(mostResident, resident(t))
		}
	}
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	const mib = 1 << 20
	const bound = 2*memory + clients*each + spare
	grew, residentGrew := int64(most-heapBefore), int64(mostResident)-int64(residentBefore)
	t.Logf("%d connections, %d MiB each: at the most %d MiB of live heap and %d MiB resident more than before, with %d MiB for the store and %d MiB for the middleware",
		clients, size/mib, grew/mib, residentGrew/mib, memory/mib, memory/mib)
	if grew > bound {
		t.Errorf("the heap grew by %d MiB, expected %d MiB at the most", grew/mib, bound/mib)
	}
}

// heap returns the bytes that are reachable.
func heap() uint64 {
	runtime.GC()
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	return live[0].Value.Uint64()
}

// resident returns what the process has of the machine's memory, where that can
// be read.
func resident(t *testing.T) uint64 {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	var size, pages uint64
	if _, err := fmt.Sscan(string(b), &size, &pages); err != nil {
		t.Fatal(err)
	}
	return pages * uint64(os.Getpagesize())
}

// sendFrames is a plain client that has nothing of its own but a socket.
func sendFrames(to string, payload []byte) error {
	u, err := url.Parse(to)
	if err != nil {
		return err
	}
	conn, err := net.Dial("tcp", u.Host)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(3 * time.Minute)); err != nil {
		return err
	}
	fmt.Fprintf(conn, "GET %s?length=%d HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", u.Path, len(payload), u.Host)
	br := bufio.NewReaderSize(conn, 4<<10)
	resp, err := http.ReadResponse(br, nil)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return errors.New(resp.Status)
	}
	for p := payload; len(p) > 0; {
		n := min(len(p), 64<<10)
		head := binary.BigEndian.AppendUint64([]byte{0x82, 0x80 | 127}, uint64(n))
		if _, err := (&net.Buffers{append(head, 0, 0, 0, 0), p[:n]}).WriteTo(conn); err != nil {
			return err
		}
		p = p[n:]
	}
	return untilDone(br)
}

// untilDone reads what the server says up to its answer.
func untilDone(br *bufio.Reader) error {
	for {
		var head [2]byte
		if _, err := io.ReadFull(br, head[:]); err != nil {
			return err
		}
		n := int(head[1])
		if n == 126 {
			var wide [2]byte
			if _, err := io.ReadFull(br, wide[:]); err != nil {
				return err
			}
			n = int(binary.BigEndian.Uint16(wide[:]))
		}
		text := make([]byte, n)
		if _, err := io.ReadFull(br, text); err != nil {
			return err
		}
		switch s := string(text); {
		case head[0] != 0x81: // a ping: the deadline is long
		case strings.Contains(s, `"type":"done"`):
			return nil
		case strings.Contains(s, `"type":"error"`):
			return errors.New(s)
		}
	}
}
