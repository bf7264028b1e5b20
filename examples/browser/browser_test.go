package browser

import (
	"os/exec"
	"testing"
)

// The types in the comments are right, and make declarations for others.
func TestTypes(t *testing.T) {
	tsc, err := exec.LookPath("tsc")
	if err != nil {
		t.Fatal("no TypeScript compiler found: install it (apt-get install node-typescript), the modules are checked with it")
	}
	if out, err := exec.Command(tsc, "-p", ".", "--outDir", t.TempDir()).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestModules(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Fatal("no Node.js found: install it (apt-get install nodejs), the modules are tested with it")
	}
	if out, err := exec.Command(node, "--test", "testdata/modules.test.mjs").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
