package caddymodule

import (
	"os/user"
	"strconv"
	"testing"

	"github.com/wsingest/wsingest/resume"
)

func TestOwnersAreReadAsChownReadsThem(t *testing.T) {
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	group, err := user.LookupGroupId(me.Gid)
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(me.Uid)
	gid, _ := strconv.Atoi(me.Gid)
	for s, want := range map[string]*resume.FileOwner{
		"":                               nil,
		me.Username:                      {UID: uid, GID: -1},
		me.Username + ":":                {UID: uid, GID: -1},
		":" + group.Name:                 {UID: -1, GID: gid},
		me.Username + ":" + group.Name:   {UID: uid, GID: gid},
		"12345:54321":                    {UID: 12345, GID: 54321},
		"0:0":                            {},
		":":                              nil,
		"no-such-user-here":              nil,
		me.Username + ":no-such-group-x": nil,
		"-1:0":                           nil,
	} {
		got, err := lookUpOwner(s)
		switch {
		case (err == nil) != (want != nil || s == ""):
			t.Errorf("%q: the error is %v", s, err)
		case got == nil != (want == nil) || got != nil && *got != *want:
			t.Errorf("%q is %+v, expected %+v", s, got, want)
		}
	}
}
