package middleware

import (
	"context"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/wsingest/wsingest/middleware/protocol"
)

// Keepalive. What kills a sustained upload is hardly ever the network: it is
// one end that takes a busy connection for a dead one, or a dead one for idle.
// So here
//
//   - any byte that comes in is life, also one in the middle of a large frame,
//     and a missed pong is never a reason to close;
//   - a ping goes out only after a silence, one at a time, so that a busy line
//     carries none;
//   - a line that stays silent for the timeout is cut, and its upload stays;
//   - full clients hear something at least every interval: a browser's
//     JavaScript sees no pings, and takes silence for death.

// rhythm is the times by which a connection is kept.
type rhythm struct {
	beat    time.Duration // a full client hears something at least so often; 0: plain, no beats
	ping    time.Duration // a ping goes out after so long a silence of the peer
	timeout time.Duration // and the connection is cut after so long a one
}

// vitals is what is known of a connection at a moment.
type vitals struct {
	silence time.Duration // how long nothing came in while we listened
	unsent  time.Duration // how long nothing went out
	pinging bool          // a ping is under way
}

// actions is what is due.
type actions struct{ die, ping, beat bool }

// due returns what is due now and after which time to look again.
func (r rhythm) due(v vitals) (a actions, again time.Duration) {
	if v.silence >= r.timeout {
		return actions{die: true}, 0
	}
	again = r.timeout - v.silence
	switch {
	case v.pinging:
	case v.silence >= r.ping:
		a.ping = true
	default:
		again = min(again, r.ping-v.silence)
	}
	if r.beat > 0 {
		if v.unsent >= r.beat {
			a.beat = true
			again = min(again, r.beat)
		} else {
			again = min(again, r.beat-v.unsent)
		}
	}
	return a, again
}

// pulse runs a session's rhythm with one timer and no goroutine.
type pulse struct {
	s       *session
	timer   *time.Timer
	pinging atomic.Bool
	stopped atomic.Bool
}

func (s *session) startPulse() *pulse {
	p := &pulse{s: s}
	p.timer = time.AfterFunc(time.Hour, p.check) // set right below
	_, again := p.rhythm().due(p.vitals())
	p.timer.Reset(again)
	return p
}

func (p *pulse) stop() {
	p.stopped.Store(true)
	p.timer.Stop()
}

func (p *pulse) rhythm() rhythm {
	k := p.s.in.opts.Keepalive
	r := rhythm{ping: min(p.s.in.pace.Interval(p.s.host), k.Timeout/3), timeout: k.Timeout}
	if p.s.beats {
		r.beat = k.Interval
	}
	return r
}

func (p *pulse) vitals() vitals {
	now := p.s.in.clock.now()
	return vitals{
		silence: p.s.wire.silence(now),
		unsent:  p.s.out.silentFor(now),
		pinging: p.pinging.Load(),
	}
}

// check runs on the timer's goroutine.
func (p *pulse) check() {
	defer p.s.survive("")
	v := p.vitals()
	do, again := p.rhythm().due(v)
	if do.die {
		p.s.died(v.silence)
		return
	}
	p.s.endTrickle()
	p.s.endOverdue()
	if do.ping {
		p.pinging.Store(true)
		go p.ping(v.silence)
	}
	if do.beat {
		p.s.beat()
	}
	// The least that may lie between two looks, so that a clock that stands
	// exactly on a bound does not spin.
	p.timer.Reset(max(again, time.Millisecond))
	if p.stopped.Load() {
		p.timer.Stop()
	}
}

// ping sends one ping and waits for its pong, or for the end of the
// connection. A pong that does not come closes nothing: that is for the
// silence to decide.
func (p *pulse) ping(silence time.Duration) {
	defer p.pinging.Store(false)
	ctx, cancel := context.WithTimeout(context.Background(), p.s.in.opts.Keepalive.Timeout)
	defer cancel()
	began := p.s.in.clock.now()
	if p.s.ws.Ping(ctx) == nil {
		p.s.measured(p.s.in.clock.now() - began)
		p.s.in.pace.Survived(p.s.host, silence)
	}
}

// died cuts a connection that was silent for the timeout.
func (s *session) died(silence time.Duration) {
	defer s.cut()
	s.log.Info("connection is dead: cutting it off, its upload stays", zap.Duration("silence", silence))
	s.in.pace.IdleDrop(s.host, silence)
	s.in.opts.Observer(Event{Kind: Died, Plain: !s.full, Cause: CauseSilent, Duration: s.age()})
}

// beat sends the heartbeat: where the upload stands, and what the server is
// doing with those that are finished.
func (s *session) beat() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.restIfIdle()
	for c := range s.completing {
		a := &protocol.Ack{ID: string(c.id), Offset: c.length, Received: c.length, State: c.state()}
		if a.State == protocol.StateStoring {
			a.Offset = c.claim.Durable()
		}
		a.Window, a.Chunk = s.grant()
		s.out.send(a)
	}
	if s.up == nil && len(s.completing) == 0 {
		if s.idleSince != 0 && s.in.clock.now()-s.idleSince >= s.in.opts.Keepalive.Timeout {
			go func() {
				defer s.survive("")
				s.fail(idleTimeout)
			}()
			return
		}
		a := new(protocol.Ack)
		a.Window, a.Chunk = s.grant()
		s.out.send(a)
	}
	if s.up != nil {
		s.forceAck = true
		s.out.poke()
	}
}
