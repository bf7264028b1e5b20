package middleware_test

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"bufio"

	"go.uber.org/zap"

	"github.com/wsingest/wsingest/middleware"
	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/resume"
)

// Memory holds: under load from thousands of connections the heap and stacks
// of the server stay below the budget and 64 KiB for each connection.
func TestTwoThousandConnectionsStayWithinTheBudget(t *testing.T) {
	const budget = 64 << 20
	n := 2000
	if testing.Short() {
		n = 500
	}
	for _, mode := range []string{"idle", "open", "slow"} {
		t.Run(mode, func(t *testing.T) {
			each, total := holdConnections(t, n, budget, mode)
			t.Logf("%s: %d KiB each, %d MiB in all", mode, each>>10, total>>20)
			if most := budget + int64(n)*64<<10; total > most {
				t.Errorf("%s: %d MiB, expected at most %d", mode, total>>20, most>>20)
			}
		})
	}
}

// BenchmarkMemoryPerConnection prints what one connection costs: as bytes of
// heap and stacks, the client's socket included.
func BenchmarkMemoryPerConnection(b *testing.B) {
	for _, mode := range []string{"idle", "open", "slow"} {
		b.Run(mode, func(b *testing.B) {
			for b.Loop() {
				each, _ := holdConnections(b, 2000, 64<<20, mode)
				b.ReportMetric(float64(each), "B/conn")
			}
		})
	}
}

// holdConnections opens n raw connections and returns the memory they take in
// this process, in which the server runs. idle: upgraded and silent. open:
// with an upload that has sent 1 KiB. slow: in the middle of a message of
// 1 MiB of which 100 KiB came.
func holdConnections(t testing.TB, n int, budget int64, mode string) (each, total int64) {
	r := newRig(t, rigOptions{Options: middleware.Options{Memory: budget, Logger: zap.NewNop()}})
	before := inUse()
	conns := make([]net.Conn, n)
	for i := range conns {
		conns[i] = r.tcp("/upload/x", map[string]string{"Sec-WebSocket-Protocol": protocol.Subprotocol})
	}
	piece := bytes.Repeat([]byte("x"), 100<<10)
	for i, conn := range conns {
		br := bufio.NewReaderSize(conn, 512)
		if resp, err := http.ReadResponse(br, nil); err != nil || resp.StatusCode != 101 {
			t.Fatalf("connection %d: %v %v", i, resp, err)
		}
		if mode == "idle" {
			continue
		}
		writeText(conn, fmt.Sprintf(`{"type":"open","id":"%s"}`, resume.NewID()))
		if _, _, err := readFrame(br); err != nil { // ready
			t.Fatal(err)
		}
		writeFrame(conn, piece[:1024], 1024)
		if mode == "slow" {
			writeFrame(conn, piece, 1<<20)
		}
	}
	time.Sleep(300 * time.Millisecond) // let what was sent arrive: this measures, it does not decide
	total = inUse() - before
	return total / int64(n), total
}

func inUse() int64 {
	runtime.GC()
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}
