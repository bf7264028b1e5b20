package resume

import (
	"errors"
	"fmt"
	"io/fs"
)

// SidecarSuffix is what stands behind a file's name in the name of its sidecar:
// "film.mov.upload.json" belongs to "film.mov".
const SidecarSuffix = ".upload.json"

// PublishOptions are the arguments of [Publisher.Publish] beside the name.
type PublishOptions struct {
	// Conflict is what is done when the name is taken.
	Conflict Conflict
	// Mode is the permissions of the file, of 0777, with 0400 among them. 0: it
	// stays as the store made it, for its own user alone.
	Mode fs.FileMode
	// Owner of the file, where the system has such a thing, and lets the process
	// give files away. nil: it stays with the process.
	Owner *FileOwner
	// Sidecar, if not nil, is the content of a second file, with the same mode
	// and owner. Its name is the file's with SidecarSuffix behind, and it is
	// there, durably, before the file is. A name is taken then when one of the
	// two is, or when it ends as that of a sidecar does.
	Sidecar []byte
}

// FileOwner is who a file belongs to on a Unix. -1 leaves one of them as it is.
type FileOwner struct{ UID, GID int }

// Check says what is wrong with o.
func (o PublishOptions) Check() error {
	switch o.Conflict {
	case ConflictRename, ConflictOverwrite, ConflictFail:
	default:
		return fmt.Errorf("conflict is %q, allowed are %q, %q and %q", o.Conflict, ConflictRename, ConflictOverwrite, ConflictFail)
	}
	if o.Mode&^0o777 != 0 || o.Mode != 0 && o.Mode&0o400 == 0 {
		return fmt.Errorf("mode is %#o, allowed is 0 (as it is), or what its owner may read: 0400 to 0777", uint32(o.Mode))
	}
	if w := o.Owner; w != nil && (w.UID < -1 || w.GID < -1) {
		return errors.New("an owner has a negative id, allowed is -1 (as it is) or more")
	}
	return nil
}
