package filestore

import (
	"errors"
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/wsingest/wsingest/resume/filestore/internal/strictfs"
)

var (
	powerRuns = flag.Int64("powerloss.runs", 2500, "random runs of the power-loss test")
	powerTime = flag.Duration("powerloss.time", 60*time.Second, "time after which it begins no more of them, a sixth of it with -short")
	powerSeed = flag.Uint64("powerloss.seed", 0, "run this one only, if not 0")
)

const (
	crashDir   = "/store"
	publishDir = "/pub"
	oldFile    = "what was there before"
)

// TestNothingPromisedIsLostWithThePower makes random uploads on a file system
// that forgets what was not synced, stops it after every single operation,
// recovers, and holds the store to what it had promised by then.
func TestNothingPromisedIsLostWithThePower(t *testing.T) {
	if *powerSeed != 0 {
		if _, err := powerRun(*powerSeed, nil); err != nil {
			t.Fatal(err)
		}
		return
	}
	var next, runs, cuts atomic.Int64
	var failures sync.Map
	var workers sync.WaitGroup
	start, limit := time.Now(), *powerTime
	if testing.Short() {
		limit /= 6
	}
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for seed := next.Add(1); seed <= *powerRuns && time.Since(start) < limit; seed = next.Add(1) {
				n, err := powerRun(uint64(seed), nil)
				runs.Add(1)
				cuts.Add(int64(n))
				if err != nil {
					failures.Store(seed, err)
					return
				}
			}
		})
	}
	workers.Wait()
	failures.Range(func(seed, err any) bool {
		t.Errorf("run %d (repeat with -powerloss.seed=%d): %v", seed, seed, err)
		return true
	})
	t.Logf("%d runs, %d crashes, %v", runs.Load(), cuts.Load(), time.Since(start).Round(time.Millisecond))
}

// TestPowerLossIsNoticedWithoutASync switches every kind of sync off in turn.
// The test above has to fail then, or it would prove nothing.
func TestPowerLossIsNoticedWithoutASync(t *testing.T) {
	for name, lie := range map[string]func(op, path string) bool{
		"data":               func(op, path string) bool { return op == "sync" && strings.HasSuffix(path, partSuffix) },
		"record":             func(op, path string) bool { return op == "sync" && strings.HasSuffix(path, stateSuffix) },
		"journal":            func(op, path string) bool { return op == "sync" && filepath.Dir(path) == crashDir+"/"+journalName },
		"journal's names":    func(op, path string) bool { return op == "syncdir" && path == crashDir+"/"+journalName },
		"names":              func(op, path string) bool { return op == "syncdir" && path == crashDir },
		"published names":    func(op, path string) bool { return op == "syncdir" && path == publishDir },
		"published modes":    func(op, path string) bool { return op == "own" },
		"published sidecars": func(op, path string) bool { return op == "sync" && strings.HasSuffix(path, ".json.tmp") },
		"published content": func(op, path string) bool {
			return op == "sync" && strings.HasPrefix(path, publishDir+"/.wsingest-upload") && !strings.HasSuffix(path, ".json.tmp")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for seed := uint64(1); seed <= 3000; seed++ {
				if _, err := powerRun(seed, lie); err != nil {
					t.Logf("noticed in run %d: %v", seed, err)
					return
				}
			}
			t.Fatal("3000 runs did not notice that it was never synced")
		})
	}
}

// powerRun makes one run and checks all its crashes. It returns how many.
func powerRun(seed uint64, lie func(op, path string) bool) (int, error) {
	rng := rand.New(rand.NewPCG(seed, 1))
	fs := strictfs.New()
	for _, dir := range []string{publishDir} {
		if err := fs.Mkdir(dir); err != nil {
			return 0, err
		}
	}
	if err := errors.Join(writeDurably(fs, publishDir+"/f", oldFile), fs.SyncDir("/")); err != nil {
		return 0, err
	}
	fs.Lie = lie
	var linkless func(op, path string) error
	if rng.IntN(4) == 0 { // a file system without hard links
		linkless = func(op, path string) error {
			if op == "link" {
				return errors.New("operation not supported")
			}
			return nil
		}
	}
	fs.Fail = linkless
	if rng.IntN(4) == 0 { // a disk that finds no room for what was written, now and then, or is broken
		fs.Drops = rng.IntN(2) == 0
		fs.Fail = func(op, path string) error {
			if op == "sync" && strings.HasPrefix(path, crashDir) && rand.IntN(3) == 0 {
				if strings.HasSuffix(path, segmentSuffix) && rand.IntN(2) == 0 {
					return syscall.EIO
				}
				return syscall.ENOSPC
			}
			if linkless != nil {
				return linkless(op, path)
			}
			return nil
		}
	}
	if rng.IntN(3) == 0 { // a disk that is slow, so that more goes on meanwhile
		fs.Lie = func(op, path string) bool {
			time.Sleep(time.Duration(rand.IntN(300)) * time.Microsecond)
			return lie != nil && lie(op, path)
		}
	}
	d := &driver{rng: rng, fs: fs, linkless: linkless, world: world{}}
	for range 1 + rng.IntN(3) {
		d.fresh()
	}
	return d.runAndCrash(2)
}

func writeDurably(fs *strictfs.FS, name, text string) error {
	f, err := fs.Open(name, os.O_RDWR|os.O_CREATE)
	if err != nil {
		return err
	}
	_, err = f.WriteAt([]byte(text), 0)
	return errors.Join(err, f.Sync(), fs.SyncDir(filepath.Dir(name)), f.Close())
}
