package situations

import (
	"testing"
	"time"
)

// A GiB goes through on one connection while the store stalls, with a ping
// interval and timeout of half a second: sent by the plain loop, which has no
// window, while the store stalls for 0.3 s of every second; by full clients
// while it stalls for 3 s, six times their ping timeout.
func TestOneGiBWhileTheStoreStalls(t *testing.T) {
	size, slow := int64(1<<30), int64(0)
	if raced {
		size, slow = 24<<20, 8<<20 // as long as it takes to see a stall
	}
	t.Logf("Python is %s.", pythonLibrary(t))
	short := stalls{first: 200 * time.Millisecond, stall: 300 * time.Millisecond, period: time.Second}
	for _, c := range []struct {
		client string
		disk   stalls
		stalls int64 // it must have lived through, at least
	}{
		{pythonLoop, short, 2},
		{pythonFull, long, 1},
		{goFull, long, 1},
	} {
		t.Run(c.client, func(t *testing.T) {
			if raced {
				t.Parallel()
			}
			s := &situation{
				disk: c.disk, keepalive: tight,
				load: load{size: size, chunk: 256 << 10, ping: timeout, rate: slow},
			}
			began := time.Now()
			o := s.try(t, "wsingest", c.client)
			want{ours: "survived"}.check(t, "wsingest", o)
			if o.stalls < c.stalls {
				t.Errorf("the store stalled %d times, expected at least %d: the test shows nothing", o.stalls, c.stalls)
			}
			t.Logf("%d MiB in %.1f s over %d stalls", size>>20, time.Since(began).Seconds(), o.stalls)
		})
	}
}

// long is a disk that hangs for six times the clients' ping timeout, and first
// before even the fastest client is through.
var long = stalls{first: 200 * time.Millisecond, stall: 3 * time.Second, period: 8 * time.Second}

// The control: the same clients lose the naive server on the same disk. The
// loop sends no faster than what fits into the sockets' buffers during a stall:
// beyond that its ping would wait in its own process, before the timeout begins
// to run, and whether it dies would be a matter of chance.
func TestTheNaiveServerLosesThemOnThatDisk(t *testing.T) {
	for client, c := range map[string]struct {
		rate int64
		of   string
	}{
		pythonLoop: {2 << 20, "died 1011"},
		pythonFull: {0, "died 1011"},
		goFull:     {0, "died silence"},
	} {
		t.Run(client, func(t *testing.T) {
			t.Parallel()
			s := &situation{
				disk: long, keepalive: tight,
				load: load{size: 1 << 30, chunk: 256 << 10, ping: timeout, rate: c.rate},
			}
			want{naive: c.of}.check(t, "naive", s.try(t, "naive", client))
		})
	}
}
