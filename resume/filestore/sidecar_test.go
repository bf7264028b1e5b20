package filestore

import (
	"errors"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/wsingest/wsingest/resume"
	"github.com/wsingest/wsingest/resume/filestore/internal/strictfs"
)

// Whatever keeps a file from appearing, no sidecar is left alone: not when the
// file is published later under another name, and not when the upload is deleted.
func TestNoSidecarIsLeftWithoutItsFile(t *testing.T) {
	for _, links := range []bool{true, false} {
		for _, ending := range []string{"tried again", "killed and tried again", "deleted", "killed and deleted"} {
			inBubble(t, func(b *bench) {
				b.must(b.fs.Mkdir(publishDir))
				b.must(b.fs.SyncDir("/"))
				id := resume.NewID()
				c := b.claim(id, 3)
				b.write(c, "abc")
				_, err := c.Finish(b.ctx, resume.FinishOptions{Length: 3})
				b.must(err)
				o := resume.PublishOptions{Conflict: resume.ConflictRename, Sidecar: []byte("about it")}
				killed := b.fs
				b.fs.Fail = func(op, path string) error {
					switch {
					case op == "link" && !links:
						return errors.New("operation not supported")
					case path == publishDir+"/a.txt": // its sidecar is there by now
						killed = b.fs.Kill()
						return syscall.EIO
					}
					return nil
				}
				if _, err := b.store.Publish(b.ctx, id, publishDir, "a.txt", o); !errors.Is(err, syscall.EIO) {
					b.Fatalf("Publish: %v", err)
				}
				if strings.HasPrefix(ending, "killed") {
					if got := published(b, killed); !strings.Contains(got, "a.txt.upload.json=about it") {
						b.Fatalf("when it was killed there was %q: the test shows nothing", got)
					}
					b.must(c.Close())
					b.must(b.store.Close())
					b.fs = killed
					b.open(Options{ScanInterval: Never})
				}
				b.fs.Fail = nil
				want := ""
				if strings.HasSuffix(ending, "deleted") {
					b.must(b.store.Delete(b.ctx, id))
				} else {
					_, err := b.store.Publish(b.ctx, id, publishDir, "b.txt", o)
					b.must(err)
					b.must(b.store.Settle(b.ctx, id, nil))
					want = "b.txt.upload.json=about it b.txt=abc"
				}
				b.must(b.store.Close()) // what is removed behind the answer is removed
				if got := published(b, b.fs); got != want {
					b.Errorf("%s, with links %v: there is %q, expected %q", ending, links, got, want)
				}
				b.store = nil
			})
		}
	}
}

// A file that has appeared keeps its sidecar, also where its hidden name cannot be
// removed at once: that goes with the upload's bytes.
func TestAFileThatAppearedKeepsItsSidecar(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.must(b.fs.Mkdir(publishDir))
		id := b.complete("abc")
		var fault failing
		b.fs.Fail = fault.hook
		linked := false
		b.fs.After = func() {
			if _, err := b.fs.Stat(publishDir + "/a.txt"); err == nil && !linked {
				linked = true
				fault.set("remove", ".tmp", syscall.EIO)
			}
		}
		o := resume.PublishOptions{Conflict: resume.ConflictRename, Sidecar: []byte("about it")}
		_, err := b.store.Publish(b.ctx, id, publishDir, "a.txt", o)
		fault.set("", "", nil)
		b.fs.After = nil
		if err != nil {
			_, err = b.store.Publish(b.ctx, id, publishDir, "a.txt", o)
		}
		b.must(err)
		b.must(b.store.Settle(b.ctx, id, nil))
		b.must(b.store.Close()) // what is removed behind the answer is removed
		if got := published(b, b.fs); got != "a.txt.upload.json=about it a.txt=abc" {
			b.Errorf("there is %q", got)
		}
		b.store = nil
	})
}

// published returns what is in the directory of published files.
func published(b *bench, fs *strictfs.FS) string {
	b.Helper()
	var files []string
	b.must(fs.List(publishDir, func(name string) bool {
		p, err := fs.ReadFile(publishDir + "/" + name)
		b.must(err)
		files = append(files, name+"="+string(p))
		return true
	}))
	slices.Sort(files)
	return strings.Join(files, " ")
}
