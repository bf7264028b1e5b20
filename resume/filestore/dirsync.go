package filestore

import "sync"

// dirSync shares syncs of one directory: whoever asks while one is under way
// takes part in the next, together with all others who ask meanwhile. A
// hundred small uploads that finish at once need two.
type dirSync struct {
	sync func() error

	mu      sync.Mutex
	running bool
	next    *dirSyncRun // that the one who finishes has to start
}

type dirSyncRun struct {
	done chan struct{}
	err  error
}

// do returns when a sync has succeeded that began after do was called.
func (d *dirSync) do() error {
	d.mu.Lock()
	if d.running {
		if d.next == nil {
			d.next = &dirSyncRun{done: make(chan struct{})}
		}
		run := d.next
		d.mu.Unlock()
		<-run.done
		return run.err
	}
	d.running = true
	d.mu.Unlock()
	err := d.sync()
	d.handOver()
	return err
}

// handOver starts the run that others wait for, if there is one.
func (d *dirSync) handOver() {
	d.mu.Lock()
	defer d.mu.Unlock()
	run := d.next
	d.next = nil
	if run == nil {
		d.running = false
		return
	}
	go func() {
		run.err = d.sync()
		close(run.done)
		d.handOver()
	}()
}
