package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Half an hour of a recording: a chunk every 250 ms, of a length nobody knows,
// and three times the network is gone. Unless there is time, the same chunks
// come faster.
func TestLiveRecording(t *testing.T) {
	t.Parallel()
	const chunks = 30 * 60 * 4
	every, size, gone := time.Millisecond, 1<<10, 500*time.Millisecond
	if long {
		every, size, gone = 250*time.Millisecond, 32<<10, 20*time.Second
	}
	p, v, b := visitAt(t, 0)
	b.tap()
	ask[bool](b, fmt.Sprintf(`
		const [chunks, size, every] = [%d, %d, %d], began = performance.now();
		globalThis.live = {made: 0, given: 0, over: -Infinity, most: 0, window: 0};
		let wake = () => {};
		const camera = setInterval(() => {
			live.made = Math.min(chunks, Math.floor((performance.now() - began) / every));
			if (live.made === chunks) clearInterval(camera);
			wake();
		}, every);
		const stream = new ReadableStream({
			async pull(c) { // the client asks for one more
				const {held} = up.progress, {window} = wire.at(-1);
				live.over = Math.max(live.over, held - window);
				live.window = Math.max(live.window, window);
				while (live.given >= live.made) {
					if (live.made === chunks) return c.close();
					await new Promise((resolve) => { wake = resolve; });
				}
				c.enqueue(bytes(size * live.given++, size));
				live.most = Math.max(live.most, held + size);
			},
		}, {highWaterMark: 0});
		globalThis.up = new Upload(stream, {url: "/upload/", name: "live.bin"});
		up.start();
		return true`, chunks, size, every.Milliseconds()))
	all := arithmetic(chunks * size)
	for i := range 3 {
		given := func() int { return eval[int](b, "live.given") }
		b.within(2*patience+every*chunks, "more was recorded", func() bool { return given() > chunks*(i+1)/4 })
		v.dark(true)
		broken := time.Now()
		b.until("it has noticed", func() bool { return eval[string](b, "up.state") == "waiting" })
		b.until("the network has been gone long enough", func() bool { return time.Since(broken) > gone })
		p.expectPart(all, eval[int](b, "up.progress.durable"))
		v.dark(false)
	}
	b.within(2*patience+every*chunks, "it is done", func() bool { return eval[string](b, "up.state") == "done" })
	expectFile(t, p.published("live.bin"), all)
	b.expectWithinCredit()
	if n := len(p.resumes()); n < 3 {
		t.Errorf("it was resumed %d times", n)
	}
	// It asked for a chunk only when it held no more than its window.
	if over := eval[int](b, "live.over"); over > 0 {
		t.Errorf("the page held %d bytes more than its window and one chunk", over)
	}
	t.Logf("of %d bytes the page held at most %d, its window was at most %d", len(all), eval[int](b, "live.most"), eval[int](b, "live.window"))
}

// expectPart holds the promise that what is below offset is there, in the file
// of the one upload that is not finished.
func (p *program) expectPart(want []byte, offset int) {
	p.t.Helper()
	parts, err := filepath.Glob(filepath.Join(p.dir, "incoming", "*.part"))
	if err != nil || len(parts) != 1 {
		p.t.Fatalf("unfinished uploads: %v, %v", parts, err)
	}
	f, err := os.Open(parts[0])
	if err != nil {
		p.t.Fatal(err)
	}
	defer f.Close()
	got, err := io.ReadAll(io.LimitReader(f, int64(offset)))
	if err != nil {
		p.t.Fatal(err)
	}
	if offset == 0 || !bytes.Equal(got, want[:offset]) {
		p.t.Errorf("of the %d bytes below offset %d are there, or they are others", offset, len(got))
	}
}
