package caddymodule

import (
	"fmt"
	"io/fs"
	"os/user"
	"strconv"
	"strings"

	"github.com/wsingest/wsingest/resume"
)

// parseMode reads a mode in octal.
func parseMode(s string) (fs.FileMode, error) {
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(s, 8, 32)
	if err != nil || n > 0o777 || n&0o400 == 0 {
		return 0, fmt.Errorf("%q, expected the permissions of a file in octal that its owner may read, 0400 to 0777, such as 0640", s)
	}
	return fs.FileMode(n), nil
}

// lookUpOwner reads a user and a group as chown(1) takes them, by name or by
// number: "app", "app:www", ":www".
func lookUpOwner(s string) (*resume.FileOwner, error) {
	if s == "" {
		return nil, nil
	}
	name, group, _ := strings.Cut(s, ":")
	owner, err := resume.FileOwner{UID: -1, GID: -1}, error(nil)
	if name != "" {
		owner.UID, err = idOf(name, func() (string, error) {
			u, err := user.Lookup(name)
			if err != nil {
				return "", err
			}
			return u.Uid, nil
		})
	}
	if err == nil && group != "" {
		owner.GID, err = idOf(group, func() (string, error) {
			g, err := user.LookupGroup(group)
			if err != nil {
				return "", err
			}
			return g.Gid, nil
		})
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("%q: %w", s, err)
	case owner.UID < 0 && owner.GID < 0:
		return nil, fmt.Errorf("%q, expected a user, a group behind a colon, or both, such as app:www", s)
	}
	return &owner, nil
}

func idOf(name string, lookUp func() (string, error)) (int, error) {
	if n, err := strconv.ParseUint(name, 10, 31); err == nil {
		return int(n), nil
	}
	id, err := lookUp()
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(id) // fails on Windows, where it is no number
}
