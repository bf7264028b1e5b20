package filestore

import "github.com/wsingest/wsingest/resume"

// ReadHead implements [resume.HeadReader]. The bytes are in the kernel's memory
// most often, since they came a moment ago.
func (c *claim) ReadHead(p []byte) (n int, err error) {
	u := c.u
	u.mu.Lock()
	if err = c.err; err == nil && u.next.phase != resume.Receiving {
		err = u.wrap(resume.ErrComplete)
	}
	if err != nil {
		u.unlock()
		return 0, err
	}
	n = int(min(int64(len(p)), u.contiguousFrom(0)))
	part := u.part
	u.retain() // the file stays open, should the claim end meanwhile
	u.unlock()
	defer u.release()
	if k, err := part.ReadAt(p[:n], 0); k < n {
		return 0, u.wrap(err)
	}
	return n, nil
}
