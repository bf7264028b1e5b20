package main

import (
	"fmt"
	"slices"
	"testing"
)

// ask runs the body of an async function in the page, with the library's Upload
// and a source of reproducible bytes at hand, and returns what it returns.
func ask[T any](b *tab, body string) T {
	b.t.Helper()
	return eval[T](b, fmt.Sprintf(`import("/wsingest/wsingest.js").then(async ({Upload}) => {
		const bytes = (start, n) => Uint8Array.from({length: n}, (_, i) => Math.imul(start + i, 2654435761) >>> 13);
		%s
	})`, body))
}

// arithmetic returns what bytes of ask makes.
func arithmetic(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(uint32(i) * 2654435761 >> 13)
	}
	return p
}

// Whatever an Upload is made of arrives, and its states are what happens.
func TestKindsOfSources(t *testing.T) {
	t.Parallel()
	p := start(t, t.TempDir())
	b := visit(t, p.url)
	const size = 300_000
	for name, source := range map[string]string{
		"blob":          `new Blob([all])`,
		"file":          `new File([all], "another name")`,
		"bytes":         `streamOf(all.slice(0, 7), all.slice(7))`,
		"buffers":       `streamOf(all.slice(0, 100_000).buffer, new DataView(all.buffer, 100_000))`,
		"blobs":         `streamOf(new Blob([all.slice(0, 1)]), new Blob([]), new Blob([all.slice(1)]))`,
		"small pieces":  `streamOf(...Array.from({length: 300}, (_, i) => all.slice(1000 * i, 1000 * i + 1000)))`,
		"typed":         `streamOf(new Uint16Array(all.buffer))`,
		"empty":         `streamOf()`,
		"nothing":       `new Blob([])`,
		"not even that": `streamOf("text")`,
	} {
		got := ask[struct {
			States   []string
			Location string
			Code     string
		}](b, fmt.Sprintf(`
			const all = bytes(0, %d), states = [];
			const streamOf = (...chunks) => new ReadableStream({pull(c) { chunks.length ? c.enqueue(chunks.shift()) : c.close(); }});
			const up = new Upload(%s, {url: "/upload/", name: %q, onState: (state) => states.push(state)});
			const {location} = await up.start().catch(() => ({location: ""}));
			return {states, location, code: up.error?.code ?? ""}`, size, source, name))
		got.States = slices.DeleteFunc(got.States, func(s string) bool { return s == "delivering" }) // if it takes long enough to be told
		want := []string{"connecting", "uploading", "verifying", "done"}
		if name == "not even that" {
			want = []string{"connecting", "uploading", "failed"}
			if got.Code != "stream-failed" {
				t.Errorf("%s: it failed with %q", name, got.Code)
			}
		}
		if !slices.Equal(got.States, want) {
			t.Errorf("%s: the states were %q", name, got.States)
		}
		switch name {
		case "not even that":
		case "empty", "nothing":
			expectFile(t, p.published(got.Location), nil)
		default:
			expectFile(t, p.published(got.Location), arithmetic(size))
		}
	}
}

func TestLanes(t *testing.T) {
	t.Parallel()
	p, v, b := visitAt(t, 16<<20)
	const size = 24 << 20
	ask[bool](b, fmt.Sprintf(`globalThis.up = new Upload(new File([bytes(0, %d)], "lanes.bin"), {url: "/upload/", lanes: 3}); up.start(); return true`, size))
	b.until("a third has arrived", func() bool { return eval[float64](b, `up.progress.received`) > size/3 })
	v.cut()
	v.rate.Store(0)
	b.until("it is done", func() bool { return eval[string](b, `up.state`) == "done" })
	expectFile(t, p.published("lanes.bin"), arithmetic(size))
}

// Chunks of a length nobody knows, over a line that breaks three times.
func TestStreamSurvivesCuts(t *testing.T) {
	t.Parallel()
	p, v, b := visitAt(t, slow)
	const size = 12 << 20
	ask[bool](b, fmt.Sprintf(`
		let at = 0;
		const stream = new ReadableStream({pull(c) {
			if (at >= %d) return c.close();
			const n = Math.min(100_003, %d - at);
			c.enqueue(bytes(at, n));
			at += n;
		}});
		globalThis.up = new Upload(stream, {url: "/upload/", name: "live.bin", retention: 4 << 20});
		up.start();
		return true`, size, size))
	for i := range 3 {
		b.until("more has arrived", func() bool { return eval[float64](b, `up.progress.received`) > float64(size*(i+1)/5) })
		v.cut()
	}
	v.rate.Store(0)
	b.until("it is done", func() bool { return eval[string](b, `up.state`) == "done" })
	expectFile(t, p.published("live.bin"), arithmetic(size))
}

// A real recorder, recording a canvas, over a line that breaks.
func TestRecording(t *testing.T) {
	t.Parallel()
	_, v, b := visitAt(t, 0)
	ask[bool](b, `
		const canvas = document.createElement("canvas"), pen = canvas.getContext("2d");
		setInterval(() => { pen.fillStyle = "#" + Math.floor(Math.random() * 0xffffff).toString(16).padStart(6, "0"); pen.fillRect(0, 0, 300, 150); }, 30);
		globalThis.recorder = new MediaRecorder(canvas.captureStream(30));
		globalThis.recorded = [];
		recorder.addEventListener("dataavailable", ({data}) => recorded.push(data));
		globalThis.up = new Upload(recorder, {url: "/upload/", name: "live.webm", wantDigest: "sha-256"});
		up.start();
		recorder.start(100);
		return true`)
	for range 3 {
		before := eval[float64](b, `up.progress.received`)
		b.until("the recording goes on", func() bool { return eval[float64](b, `up.progress.received`) > before })
		v.cut()
	}
	eval[bool](b, `recorder.stop(), true`)
	b.until("it is done", func() bool { return eval[string](b, `up.state`) == "done" })
	want := ask[string](b, `return btoa(String.fromCharCode(...new Uint8Array(await crypto.subtle.digest("SHA-256", await new Blob(recorded).arrayBuffer()))))`)
	if got := eval[string](b, `up.result.digest["sha-256"]`); got != want {
		t.Errorf("the server has %s, the recorder made %s", got, want)
	}
}
