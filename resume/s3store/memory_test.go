package s3store_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/wsingest/wsingest/resume"
	"github.com/wsingest/wsingest/resume/s3store/s3test"
)

// TestMoreClaimsThanMemoryAllGoOn: parts that are not full leave memory as
// objects, so that nobody waits for bytes that never come.
func TestMoreClaimsThanMemoryAllGoOn(t *testing.T) {
	server := s3test.Start(t)
	server.Bucket(t, "uploads")
	o := small(server, "")
	o.Memory = 16 << 20
	o.SyncInterval = time.Minute
	s := node(t, o)
	const claims, length = 16, 5<<20 + 500_000
	var all sync.WaitGroup
	errs := make([]error, claims)
	ids := make([]resume.ID, claims)
	half := make(chan struct{})
	var halves sync.WaitGroup
	halves.Add(claims)
	for i := range claims {
		ids[i] = resume.NewID()
		all.Go(func() {
			data := random(byte(i), length)
			c, err := s.Open(patience(t), resume.OpenOptions{Info: resume.Info{ID: ids[i], Length: length}})
			if err != nil {
				halves.Done()
				errs[i] = err
				return
			}
			defer c.Close()
			// All are in the middle of a part at one moment: 32 MiB in 16.
			_, err = c.Write(data[:2<<20])
			halves.Done()
			<-half
			if err == nil {
				_, err = c.Write(data[2<<20:])
			}
			if err == nil {
				_, err = c.Finish(patience(t), resume.FinishOptions{Length: length})
			}
			errs[i] = err
		})
	}
	halves.Wait()
	close(half)
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	for i, id := range ids {
		holds(t, s, id, random(byte(i), length))
	}
}

// TestPartsLargerThanMemory: as those of an upload of terabytes are. What arrives
// goes through objects, of which the part is made in the end.
func TestPartsLargerThanMemory(t *testing.T) {
	server := s3test.Start(t)
	server.Bucket(t, "uploads")
	o := small(server, "")
	o.Memory, o.PartSize = 16<<20, 33<<20
	o.SyncInterval = time.Minute
	s := node(t, o)
	data := random(7, 35<<20)
	c := open(t, s, resume.Info{ID: resume.NewID(), Length: int64(len(data))})
	write(t, c, data)
	finish(t, c, data)
	holds(t, s, c.State().ID, data)
}
