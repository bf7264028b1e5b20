package middleware_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/wsingest/wsingest/middleware"
	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/resume"
	"github.com/wsingest/wsingest/resume/filestore"
)

// guarded is what somebody sets who opens a server to everybody, with times a
// test can wait for.
func guarded() middleware.Options {
	return byQuery(middleware.Options{
		MaxSize:                  4 * mib,
		QuotaPerOwner:            16 * mib,
		MaxUploadsPerOwner:       20,
		MaxConnectionsPerAddress: 100,
		Memory:                   16 * mib,
		Keepalive:                middleware.Keepalive{Interval: 300 * time.Millisecond, Timeout: 900 * time.Millisecond},
	})
}

// Each row is what somebody may try who means harm, and what he hears. All the
// while an upload runs beside it, goes on, and arrives as it was sent.
func TestAttacksAreAnsweredAndDisturbNobody(t *testing.T) {
	middleware.AllowFastKeepalive()
	for _, a := range []struct {
		name   string
		attack func(m *mallory)
		waits  bool // for the server to lose its patience: beside others that do
	}{
		{"resume what is another's", (*mallory).resumesWhatIsAnothers, false},
		{"guess ids", (*mallory).guessesIDs, false},
		{"declare too much", func(m *mallory) {
			p := m.full()
			p.Send(open(resume.NewID(), 4*mib+1))
			fails(p, protocol.MaxSizeExceeded)
		}, false},
		{"send more than declared", func(m *mallory) {
			p := m.full()
			p.Send(open(resume.NewID(), 10))
			next[*protocol.Ready](p)
			p.Data(make([]byte, 11))
			fails(p, protocol.InconsistentLength)
		}, false},
		{"send without an end", func(m *mallory) {
			p := m.full()
			p.Send(&protocol.Open{ID: string(resume.NewID())})
			p.Stream(next[*protocol.Ready](p), make([]byte, 4*mib), 256<<10)
			p.Acked(4 * mib)
			p.Data([]byte{1})
			fails(p, protocol.MaxSizeExceeded)
		}, false},
		{"a lane of more than declared", func(m *mallory) {
			p := m.full()
			p.Send(lane(resume.NewID(), 1000, 500, 1001))
			fails(p, protocol.BadMessage)
		}, false},
		{"send behind the end of a lane", func(m *mallory) {
			p := m.full()
			p.Send(lane(resume.NewID(), 1000, 500, 600))
			next[*protocol.Ready](p)
			p.Data(make([]byte, 101))
			fails(p, protocol.InconsistentLength)
		}, false},
		{"a lane far beyond what is allowed", func(m *mallory) {
			p, end := m.full(), int64(1<<50)
			p.Send(&protocol.Open{ID: string(resume.NewID()), Range: &protocol.Range{Start: 1<<50 - 10, End: &end}})
			next[*protocol.Ready](p)
			p.Data(make([]byte, 10))
			fails(p, protocol.MaxSizeExceeded)
		}, false},
		{"metadata of 10 MiB", func(m *mallory) {
			huge := []byte(`{"type":"open","metadata":{"k":"` + strings.Repeat("v", 10*mib) + `"}}`)
			p, written := m.full(), make(chan struct{})
			go func() { // he is told before all of it was sent
				p.WS.Write(deadline(m.t), websocket.MessageText, huge)
				close(written)
			}()
			fails(p, protocol.BadMessage)
			<-written
		}, false},
		{"connections that never speak, from one place", (*mallory).floodsFromOnePlace, false},
		{"connections that never speak, from everywhere", (*mallory).floodsFromEverywhere, false},
		{"a byte now and then", (*mallory).trickles, true},
		{"tiny uploads without end", (*mallory).fillsTheStore, false},
		{"names that climb, shadow and collide", (*mallory).choosesNames, false},
		{"a page of another site", func(m *mallory) {
			if resp := m.r.upgrade("/upload/", map[string]string{"Origin": "https://evil.example"}); resp.StatusCode != http.StatusForbidden {
				m.t.Errorf("answered %d, expected 403", resp.StatusCode)
			}
		}, false},
		{"a flood of pings", (*mallory).floodsPings, false},
		{"a flood of pings by one who hears no pongs", (*mallory).floodsPingsUnheard, true},
		{"a ping in fragments", func(m *mallory) { m.breaksFraming([]byte{0x09, 0x80, 0, 0, 0, 0}) }, false},
		{"a ping too long", func(m *mallory) { m.breaksFraming(append([]byte{0x89, 0x80 | 126, 0, 200}, make([]byte, 204)...)) }, false},
		{"data compressed unasked", func(m *mallory) { m.breaksFraming(append([]byte{0xC2, 0x80 | 4, 0, 0, 0, 0}, "bomb"...)) }, false},
	} {
		t.Run(a.name, func(t *testing.T) {
			if a.waits {
				t.Parallel()
			}
			dir := t.TempDir()
			o := guarded()
			o.Publish = &middleware.Publish{Dir: filepath.Join(dir, "in")}
			os.Mkdir(o.Publish.Dir, 0o755)
			store, err := filestore.New(t.TempDir(), filestore.Options{SyncInterval: 20 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { store.Close() })
			r := newRig(t, rigOptions{store: store, Options: o})
			m := &mallory{t: t, r: r, victim: r.onlooker(), dir: dir}
			a.attack(m)
			m.victim.unharmed()
		})
	}
}
