package middleware

import (
	"sync"

	"github.com/wsingest/wsingest/middleware/protocol"
	"github.com/wsingest/wsingest/resume"
)

// queue carries what the reader took off the socket to the worker, in order.
// The reader never waits here: what bounds the queue is the allotment its blocks
// come from. The worker is a goroutine only while there is something to do.
type queue struct {
	mu      sync.Mutex
	items   []item
	head    int
	working bool
	done    sync.Cond // signals that the worker has stopped
	work    func(item)
}

func (q *queue) init(work func(item)) {
	q.work = work
	q.done.L = &q.mu
}

// item is one thing for the worker: file data, a message, or an order of the
// session to itself.
type item struct {
	data  *block
	msg   protocol.Message
	order order
	err   *protocol.Error // with orderFail
}

// upload returns the id that an open names; "" of anything else, which is
// about the upload at hand.
func (it item) upload() resume.ID {
	if open, ok := it.msg.(*protocol.Open); ok {
		return resume.ID(open.ID)
	}
	return ""
}

type order int

const (
	none           order = iota
	orderFail            // tell the client err and close
	orderDrain           // make durable what is there, say goaway and close
	orderEnded           // the claim takes no more bytes: tell the client why
	orderOpenPlain       // open what the URL names
	orderOverdue         // the upload has had its time: remove it
	orderFinish          // the end of the stream is the end of the file
)

func (q *queue) push(items ...item) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.head > 0 && len(q.items)+len(items) > cap(q.items) {
		q.items, q.head = q.items[:copy(q.items, q.items[q.head:])], 0
	}
	q.items = append(q.items, items...)
	if !q.working && len(q.items) > q.head {
		q.working = true
		go q.run()
	}
}

// reclaim takes back the last block if nobody works on it yet and it has room;
// nil if there is none.
func (q *queue) reclaim() *block {
	q.mu.Lock()
	defer q.mu.Unlock()
	last := len(q.items) - 1
	if last < q.head || q.items[last].data == nil {
		return nil
	}
	b := q.items[last].data
	if b.n == len(b.buf) {
		return nil
	}
	q.items[last] = item{}
	q.items = q.items[:last]
	return b
}

// waiting returns how many items the worker has not begun with.
func (q *queue) waiting() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.items) - q.head
}

func (q *queue) run() {
	for {
		q.mu.Lock()
		if q.head == len(q.items) {
			q.items, q.head = q.items[:0], 0
			q.working = false
			q.done.Broadcast()
			q.mu.Unlock()
			return
		}
		next := q.items[q.head]
		q.items[q.head] = item{}
		q.head++
		q.mu.Unlock()
		q.work(next)
	}
}

// wait returns once the worker has nothing left to do.
func (q *queue) wait() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.working {
		q.done.Wait()
	}
}
