// Package bandwidth divides bytes a second among connections: so many in all,
// for one owner, and for one connection. It is arithmetic only: no goroutines,
// no clocks, no I/O. Time comes in as the time since some beginning.
//
// Who wants bytes asks for them, and gets them in turns, a quantum at a time:
// so those that want all they can get come to equal parts, and one that wants
// less leaves the rest to the others.
package bandwidth

import (
	"container/list"
	"math"
	"time"
)

// Limits are in bytes a second. 0: no bound.
type Limits struct{ PerConnection, PerOwner, Total int64 }

const (
	// turn is the time of its own rate that a connection gets bytes for at once:
	// short enough that those who wait are served often, long enough that each
	// time is worth an ack.
	turn = 100 * time.Millisecond
	// minQuantum and maxQuantum bound what that comes to. A quantum as small as
	// the first is still a message; one larger than the second is no faster.
	minQuantum = 4 << 10
	maxQuantum = 256 << 10
)

// A Divider hands out bytes. No method of it or of its shares may run at the
// same time as another.
type Divider struct {
	limits Limits
	total  bucket
	owners map[string]*owner
	sweep  int       // owners from which on those without connections are looked for
	queue  list.List // of *Share: those that wait, in the order of their turns
	round  int
	served []*Share // in the running round
	gifts  []Gift
}

// owner is what the connections of one owner share.
type owner struct {
	bucket  bucket
	shares  int
	waiting int
	blocked int // the round in which nothing was left for it
}

// A Share is the part of one connection.
type Share struct {
	d     *Divider
	owner *owner
	own   bucket
	wish  int64
	place *list.Element // in the queue; nil: waits for nothing
	given int64         // in the running round
	tell  func(n int64)
}

// Gift is what a share got by waiting for it.
type Gift struct {
	tell func(int64)
	n    int64
}

// Tell tells whom it is for.
func (g Gift) Tell() { g.tell(g.n) }

// New returns a divider whose limits are all unused so far.
func New(l Limits) *Divider {
	return &Divider{limits: l, total: newBucket(l.Total, 0), owners: make(map[string]*owner), sweep: 64}
}

// Join adds a connection. tell is what its gifts are told with.
func (d *Divider) Join(now time.Duration, name string, tell func(n int64)) *Share {
	s := &Share{d: d, own: newBucket(d.limits.PerConnection, now), tell: tell}
	s.enter(now, name)
	return s
}

// Leave takes the connection out. unused is what it was given and did not
// bring: others may. Below 0 it is what it brought beyond that.
func (s *Share) Leave(now time.Duration, unused int64) {
	s.forget()
	s.d.total.put(now, unused)
	s.owner.bucket.put(now, unused)
	s.owner.shares--
}

// Belong has the share count as one of another owner from now on.
func (s *Share) Belong(now time.Duration, name string) {
	if s.d.owners[name] == s.owner {
		return
	}
	wish := s.wish
	s.forget()
	s.owner.shares--
	s.enter(now, name)
	if wish > 0 {
		s.wait(wish)
	}
}

func (s *Share) enter(now time.Duration, name string) {
	o := s.d.owners[name]
	if o == nil {
		s.d.forgetOwners(now)
		o = &owner{bucket: newBucket(s.d.limits.PerOwner, now)}
		s.d.owners[name] = o
	}
	o.shares++
	s.owner = o
}

// forgetOwners drops owners without connections, now and then. Who owes bytes
// is kept until they are paid: else to connect anew would be a way out.
func (d *Divider) forgetOwners(now time.Duration) {
	if len(d.owners) < d.sweep {
		return
	}
	for name, o := range d.owners {
		if o.shares == 0 && o.bucket.until(now, 0) == 0 {
			delete(d.owners, name)
		}
	}
	d.sweep = max(64, 2*len(d.owners))
}

// Spend counts bytes that came unasked: they are paid for by what comes next.
func (s *Share) Spend(now time.Duration, n int64) { s.take(now, n) }

// Ask wants n bytes in the place of what was wanted before. It returns those
// that are to be had at once; the rest is waited for, and given by Serve.
func (s *Share) Ask(now time.Duration, n int64) (got int64) {
	if s.place != nil {
		s.wish = n
		return 0
	}
	for s.d.queue.Len() == 0 && n > 0 {
		part := min(n, s.quantum(1, 1))
		if s.until(now, part) > 0 {
			break
		}
		s.take(now, part)
		got, n = got+part, n-part
	}
	if n > 0 {
		s.wait(n)
	}
	return got
}

func (s *Share) wait(n int64) {
	s.wish = n
	s.place = s.d.queue.PushBack(s)
	s.owner.waiting++
}

func (s *Share) forget() {
	s.wish = 0
	if s.place != nil {
		s.d.queue.Remove(s.place)
		s.place = nil
		s.owner.waiting--
	}
}

// Serve hands out what there is to those that wait, and returns after which
// time to call it again; ok is false when nobody waits. The gifts are to be told
// before the next call.
func (d *Divider) Serve(now time.Duration) (gifts []Gift, again time.Duration, ok bool) {
	d.round++
	again = math.MaxInt64
	for e := d.queue.Front(); e != nil; {
		s := e.Value.(*Share)
		e = e.Next()
		if s.owner.blocked == d.round {
			continue
		}
		n := min(s.wish, s.quantum(d.queue.Len(), s.owner.waiting))
		if late := s.own.until(now, n); late > 0 {
			again = min(again, late)
			continue
		}
		if late := s.owner.bucket.until(now, n); late > 0 {
			again = min(again, late)
			s.owner.blocked = d.round // whose turn it is among those of one owner
			continue
		}
		if late := d.total.until(now, n); late > 0 {
			again = min(again, late)
			break // and among all
		}
		s.take(now, n)
		s.give(n)
		if s.wish == 0 {
			continue
		}
		d.queue.MoveToBack(s.place)
		if e == nil {
			e = s.place
		}
	}
	d.gifts = d.gifts[:0]
	for _, s := range d.served {
		d.gifts = append(d.gifts, Gift{s.tell, s.given})
		s.given = 0
	}
	d.served = d.served[:0]
	return d.gifts, again, d.queue.Len() > 0
}

// give has n bytes of the wish granted.
func (s *Share) give(n int64) {
	if s.given == 0 {
		s.d.served = append(s.d.served, s)
	}
	s.given += n
	if s.wish -= n; s.wish == 0 {
		s.forget()
	}
}

// take counts n bytes, whether they are there or not.
func (s *Share) take(now time.Duration, n int64) {
	for _, b := range [...]*bucket{&s.own, &s.owner.bucket, &s.d.total} {
		b.put(now, -n)
	}
}

// until returns after which time n bytes are to be had: 0 means now.
func (s *Share) until(now time.Duration, n int64) time.Duration {
	return max(s.own.until(now, n), s.owner.bucket.until(now, n), s.d.total.until(now, n))
}

// quantum returns what the share gets in one turn beside so many others that
// wait in all, and so many of its owner's.
func (s *Share) quantum(all, ofOwner int) int64 {
	l := s.d.limits
	rate := int64(math.MaxInt64)
	for _, part := range [...]int64{l.PerConnection, l.PerOwner / int64(max(ofOwner, 1)), l.Total / int64(max(all, 1))} {
		if part > 0 {
			rate = min(rate, part)
		}
	}
	return max(minQuantum, int64(min(float64(rate)*turn.Seconds(), maxQuantum)))
}
