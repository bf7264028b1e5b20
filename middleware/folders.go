package middleware

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/wsingest/wsingest/resume"
)

// makeFolders makes the folders below p.Dir, one in the other, durably: a file
// published into one must not go with it when the power does. So nobody finds
// one that another is just making.
func (ds *Deliveries) makeFolders(p *Publish, id resume.ID, folders string) error {
	ds.folders.Lock()
	defer ds.folders.Unlock()
	dir := p.Dir
	for folder := range strings.SplitSeq(folders, string(filepath.Separator)) {
		parent := dir
		dir = filepath.Join(dir, folder)
		switch _, err := os.Stat(dir); {
		case err == nil:
			continue
		case !errors.Is(err, fs.ErrNotExist):
			return err
		}
		if err := p.makeFolder(dir, filepath.Join(parent, ".wsingest-"+string(id)+".dir")); err != nil {
			return err
		}
		if err := syncDir(parent); err != nil {
			return err
		}
	}
	return nil
}

// makeFolder makes a folder that has its mode and its owner as soon as it has
// its name. Until then it is temp, which the next try finds if this one is cut
// off.
func (p *Publish) makeFolder(dir, temp string) error {
	if err := os.Mkdir(temp, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	err := os.Chmod(temp, p.folderMode())
	if err == nil && p.Owner != nil {
		err = os.Chown(temp, p.Owner.UID, p.Owner.GID)
	}
	if err == nil {
		err = os.Rename(temp, dir)
	}
	if err == nil {
		return nil
	}
	gone := os.Remove(temp)
	if info, e := os.Stat(dir); e == nil && info.IsDir() { // somebody was quicker
		return gone
	}
	return err
}

// folderMode lets those into a folder who may read the files in it.
func (p *Publish) folderMode() fs.FileMode {
	mode := p.Mode
	if mode == 0 {
		mode = 0o600
	}
	return 0o700 | mode&0o777 | mode&0o444>>2
}

// syncDir makes what was created in dir durable. Windows has no such thing.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
